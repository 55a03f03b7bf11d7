//! `milena-histories [--unfinished] FILE..`: the anomalies of histories; `-` is the standard input. With `--unfinished` what
//! was acknowledged and never read may still come. The exit code is not zero if there is one that Kafka does not allow.
#![expect(clippy::print_stdout, reason = "a command-line tool speaks through its standard output")]

use std::io::Read as _;
use std::process::ExitCode;

use milena_histories::{Rules, check, parse};

fn main() -> ExitCode {
    let mut rules = Rules { is_read_to_the_end: true };
    let mut is_clean = true;
    for arg in std::env::args().skip(1) {
        if arg == "--unfinished" {
            rules.is_read_to_the_end = false;
            continue;
        }
        let mut text = String::new();
        let read = if arg == "-" {
            std::io::stdin().read_to_string(&mut text).map(drop)
        } else {
            std::fs::read_to_string(&arg).map(|all| text = all)
        };
        let history =
            match read.map_err(|error| error.to_string()).and_then(|()| parse(&text).map_err(|e| e.to_string())) {
                Ok(history) => history,
                Err(why) => {
                    println!("{arg}: {why}");
                    is_clean = false;
                    continue;
                }
            };
        let report = check(&history, rules);
        is_clean &= report.is_legal();
        println!("{arg}: {} operations\n{report}", history.len());
    }
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
