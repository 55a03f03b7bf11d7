//! A coordinator with its log in memory, a clock that is moved by hand, and a high watermark that may be held back.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use milena_coordinator::group::{Caller, GroupConfig, GroupEvent, GroupMachine, GroupReply, GroupRequest};
use milena_coordinator::runtime::{Coordinator, Effect, RuntimeConfig, Ticket};
use milena_metadata::Image;
use milena_records::{Batch, Codec, Scratch};
use milena_types::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) struct World {
    pub(crate) coordinator: Coordinator<GroupMachine>,
    pub(crate) config: Arc<GroupConfig>,
    pub(crate) log: Vec<Batch>,
    pub(crate) now: Timestamp,
    /// The high watermark follows every append.
    pub(crate) commits: bool,
    /// The next append fails with this.
    pub(crate) failure: Option<ErrorCode>,
    answers: BTreeMap<Ticket, GroupReply>,
    last_ticket: u64,
    loads: i32,
}

impl World {
    pub(crate) fn new(config: GroupConfig) -> World {
        let config = Arc::new(config);
        let mut world = World {
            coordinator: coordinator(&config, 0),
            config,
            log: Vec::new(),
            now: Timestamp(1_700_000_000_000),
            commits: true,
            failure: None,
            answers: BTreeMap::new(),
            last_ticket: 0,
            loads: 0,
        };
        world.load();
        world
    }

    /// Everything but the log is forgotten; nobody is told.
    pub(crate) fn load(&mut self) {
        self.loads += 1;
        self.coordinator = coordinator(&self.config, self.loads);
        let mut scratch = Scratch::new();
        for batch in &self.log {
            assert_eq!(self.coordinator.load(batch, Offset(i64::MAX), &mut scratch).unwrap(), 0);
        }
        let end = self.log.last().map_or(Offset(0), |batch| batch.header.next_offset());
        self.coordinator.activate(end, self.now);
        self.settle();
    }

    /// Asks, and does not wait.
    pub(crate) fn ask(&mut self, version: i16, request: GroupRequest) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let caller = Caller { client_id: "client".into(), client_host: "/127.0.0.1".into(), version };
        self.coordinator.handle(GroupEvent::Request { ticket, caller, request }, self.now);
        self.settle();
        ticket
    }

    /// Asks for what is answered at once.
    pub(crate) fn call(&mut self, version: i16, request: GroupRequest) -> GroupReply {
        let ticket = self.ask(version, request);
        self.answer(ticket).expect("an answer at once")
    }

    pub(crate) fn answer(&mut self, ticket: Ticket) -> Option<GroupReply> {
        self.answers.remove(&ticket)
    }

    /// Time passes; what becomes due on the way happens in its order.
    pub(crate) fn pass(&mut self, ms: i64) {
        let end = Timestamp(self.now.0 + ms);
        while let Some(at) = self.coordinator.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.coordinator.tick(self.now);
            self.settle();
        }
        self.now = end;
    }

    /// The high watermark reaches the end of the log.
    pub(crate) fn commit(&mut self) {
        let end = self.log.last().map_or(Offset(0), |batch| batch.header.next_offset());
        self.coordinator.committed(end, self.now);
        self.settle();
    }

    fn settle(&mut self) {
        self.coordinator.flush_unless_lingering();
        while let Some(effect) = self.coordinator.next_effect() {
            match effect {
                Effect::Reply(ticket, reply) => {
                    assert!(self.answers.insert(ticket, reply).is_none(), "{ticket:?} is answered twice");
                }
                Effect::Append { round, batch, .. } => {
                    if let Some(error) = self.failure.take() {
                        self.coordinator.appended(round, Err(error), self.now);
                    } else {
                        let batch = Batch::parse(&batch).unwrap();
                        let first = batch.header.base_offset;
                        self.log.push(batch);
                        self.coordinator.appended(round, Ok(first), self.now);
                        if self.commits {
                            self.coordinator.committed(self.log.last().unwrap().header.next_offset(), self.now);
                        }
                    }
                }
            }
            self.coordinator.flush_unless_lingering();
        }
    }
}

fn coordinator(config: &Arc<GroupConfig>, epoch: i32) -> Coordinator<GroupMachine> {
    let seed = u64::from(epoch.unsigned_abs()) + 17;
    let machine = GroupMachine::new(Arc::clone(config), Arc::new(Image::default()), seed);
    let runtime = RuntimeConfig {
        max_batch_bytes: 1 << 20,
        append_linger_ms: config.append_linger_ms,
        write_timeout_ms: config.offsets_commit_timeout_ms,
        codec: Codec::NONE,
    };
    Coordinator::new(machine, runtime, LeaderEpoch(epoch))
}
