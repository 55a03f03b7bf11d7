//! Lost connections, which tell controllers that a broker may be gone, and what their probes find: a machine that is up
//! refuses for a process that is not, one without power says nothing.

use milena_broker::hosts::Event as Happening;
use milena_controller::{Probe, Probed};
use milena_types::BrokerId;

use crate::faults::End;
use crate::message::Lane;
use crate::planted::Planted;
use crate::world::{Event, World};

/// How long a probe waits.
const PATIENCE_MS: i64 = 500;

/// A hint on its way, or the outcome of a probe.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hint {
    Lost,
    Probed(Probed),
}

impl World {
    /// The connections of a process end with it, unless nobody is there to say so.
    pub(crate) fn lose_connections(&mut self, broker: usize, epoch: i64, how: End) {
        if let Some(node) = self.nodes.get_mut(broker) {
            node.is_dark = how == End::PowerCut;
        }
        let controllers = self.nodes.iter().filter(|node| node.is_controller && node.index != broker);
        let controllers: Vec<usize> = controllers.map(|node| node.index).collect();
        for controller in controllers {
            if how != End::PowerCut && !self.cut.contains(&(broker, controller)) {
                self.lose_connection(broker, epoch, controller);
            }
        }
    }

    /// A connection broke while both its ends live.
    pub(crate) fn broke(&mut self, one: usize, other: usize, lane: Lane) {
        if lane != Lane::Controller {
            return;
        }
        for (broker, controller) in [(one, other), (other, one)] {
            let is_controller = self.nodes.get(controller).is_some_and(|node| node.is_controller);
            let epoch = self.nodes.get(broker).and_then(|node| Some(node.broker()?.epoch));
            if let Some(epoch) = epoch.filter(|epoch| is_controller && *epoch >= 0) {
                self.lose_connection(broker, epoch, controller);
            }
        }
    }

    fn lose_connection(&mut self, broker: usize, epoch: i64, controller: usize) {
        let (at, life) = (self.now + self.random.between(1, 400), self.life_at(controller));
        self.schedule(at, Event::Hint { node: controller, life, broker, epoch, hint: Hint::Lost });
    }

    /// A controller connects to a broker.
    pub(crate) fn probe(&mut self, from: usize, probe: &Probe) {
        let Ok(broker) = usize::try_from(probe.broker.0) else { return };
        let Some(node) = self.nodes.get(broker) else { return };
        let unreachable = node.is_dark || self.cut.contains(&(from, broker)) || self.cut.contains(&(broker, from));
        let nobody = node.process.is_none() || self.planted == Some(Planted::HintsFence);
        let (takes, probed) = match (unreachable && self.planted != Some(Planted::HintsFence), nobody) {
            (true, _) => (PATIENCE_MS, Probed::NotSo),
            (false, nobody) => (self.random.between(1, 16), if nobody { Probed::AllRefused } else { Probed::NotSo }),
        };
        self.coverage.count("probes");
        let life = self.life_at(from);
        let hint = Hint::Probed(probed);
        let event = Event::Hint { node: from, life, broker, epoch: probe.broker_epoch, hint };
        self.schedule(self.now + takes, event);
    }

    pub(crate) fn hint(&mut self, at: usize, life: u32, broker: usize, broker_epoch: i64, hint: Hint) {
        if self.life_at(at) != life || self.nodes.get(at).is_none_or(|node| node.process.is_none()) {
            return;
        }
        let broker: BrokerId = crate::node::broker_id(broker);
        self.tell(|| format!("n{at}: {hint:?} of {broker}"));
        self.step(at, |process, _, _| {
            process.metadata.handle(match hint {
                Hint::Lost => Happening::ConnectionLost { broker, broker_epoch },
                Hint::Probed(probed) => Happening::Probed { broker, broker_epoch, probed },
            });
        });
    }
}
