//! `milena-simulator`: runs seeds.
#![expect(clippy::print_stdout, reason = "a command-line tool speaks through its standard output")]

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|arg| arg.parse::<u64>().ok());
    if args.first().map(String::as_str) == Some("one") {
        let ran = milena_simulator::run(number(1).unwrap_or(0), None, true);
        println!("{:?} trace {:x} events {}", ran.failure, ran.trace, ran.events);
        return;
    }
    let (from, count) = (number(0).unwrap_or(0), number(1).unwrap_or(10));
    let begin = std::time::Instant::now();
    let mut events = 0;
    for seed in from..from + count {
        let ran = milena_simulator::run(seed, None, false);
        events += ran.events;
        if let Some(failure) = ran.failure {
            println!("seed {seed}: {failure}");
        }
    }
    println!("{events} events, {:?}", begin.elapsed());
}
