//! The device fills up in the midst of each operation and has room again later: what was acknowledged stays readable
//! all the while, what was refused does not show, and appends work again.

use crate::run::{Op, Run};

#[test]
fn a_full_device_refuses_and_takes_again_when_there_is_room() {
    for room in (0..4000).step_by(13) {
        let mut run = Run::new(room);
        run.apply(Op::Append(3, 3)).unwrap();
        run.apply(Op::Flush).unwrap();
        run.disk.set_capacity(run.disk.used_bytes() + room);
        let mut refused = 0;
        for at in 0..40 {
            let op = if at % 7 == 6 { Op::Roll } else { Op::Append(1, 3) };
            refused += u64::from(run.apply(op).is_err());
            assert!(!run.log.is_failed(), "room for {room} bytes, step {at}");
            run.check_equal(&format!("room for {room} bytes, step {at}"));
        }
        assert!(refused > 0, "room for {room} bytes");
        run.disk.set_capacity(0);
        run.apply(Op::Append(20, 3)).unwrap();
        run.apply(Op::Round).unwrap();
        run.check_equal("room again");
        let (state, durable) = (run.state.clone(), run.durable);
        let again = run.after_power_cut().expect("the log was flushed");
        again.check(&[&state], durable, "after a power cut");
    }
}
