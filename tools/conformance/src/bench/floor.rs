//! The least an answer costs here: a server that reads a request and answers without having looked at it, one thread a
//! connection, in this process. What it reaches with a client is the most that any server can reach with that client on this
//! machine; where that is less than the goal, the client is the limit.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::Context as _;

/// Listens until the last client has gone.
#[derive(Debug)]
pub(super) struct Floor {
    pub(super) port: u16,
}

impl Floor {
    /// Takes a connection for each of `answers`, in that order, and answers every request on it so.
    pub(super) fn start(answers: Vec<Vec<u8>>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("listen")?;
        let port = listener.local_addr()?.port();
        std::thread::spawn(move || {
            for answer in answers {
                let Ok((stream, _)) = listener.accept() else { return };
                std::thread::spawn(move || serve(stream, &answer));
            }
        });
        Ok(Self { port })
    }
}

/// Answers until the client is gone, which is the only error that matters.
fn serve(mut stream: TcpStream, answer: &[u8]) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let (mut buffer, mut filled) = (vec![0; 1 << 16], 0);
    let mut out = Vec::new();
    loop {
        let got = stream.read(buffer.get_mut(filled..).context("room")?)?;
        if got == 0 {
            return Ok(());
        }
        filled += got;
        out.clear();
        let mut at = 0;
        while let Some(size) = buffer.get(at..filled).and_then(|rest| rest.first_chunk::<4>()) {
            let end = at + 4 + usize::try_from(i32::from_be_bytes(*size))?;
            if end > filled {
                break;
            }
            out.extend_from_slice(answer);
            at = end;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
        stream.write_all(&out)?;
    }
}
