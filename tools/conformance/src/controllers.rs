//! What a controller answers on its listener that does not lead, and what one that does: every request a controller listener takes,
//! in every version, asked for things that change nothing. Of one quorum two followers of different kinds must say the same,
//! and so must two leaders, one after the other.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use milena_protocol::messages::{ApiVersionsRequest, EnvelopeRequest};
use milena_protocol::{ApiKey, Request, decode_response, encode_request};

use crate::controller_questions;
use crate::server::Kind;
use crate::wire::{Wire, flat};

/// What Apache Kafka's controllers serve and Milena's do not yet: SASL, ACLs, tokens, quotas, credentials, and configs, which
/// Milena describes on brokers.
const NOT_YET: [ApiKey; 13] = [
    ApiKey::SASL_HANDSHAKE,
    ApiKey::DESCRIBE_ACLS,
    ApiKey::CREATE_ACLS,
    ApiKey::DELETE_ACLS,
    ApiKey::DESCRIBE_CONFIGS,
    ApiKey::SASL_AUTHENTICATE,
    ApiKey::CREATE_DELEGATION_TOKEN,
    ApiKey::RENEW_DELEGATION_TOKEN,
    ApiKey::EXPIRE_DELEGATION_TOKEN,
    ApiKey::DESCRIBE_DELEGATION_TOKEN,
    ApiKey::ALTER_CLIENT_QUOTAS,
    ApiKey::DESCRIBE_USER_SCRAM_CREDENTIALS,
    ApiKey::ALTER_USER_SCRAM_CREDENTIALS,
];
/// Who is asked for in an envelope: `DefaultPrincipalData` version 0.
const PRINCIPAL: &[u8] = b"\0\0\x05User\x0aANONYMOUS\0\0";

/// An envelope that says `NOT_CONTROLLER`.
const SENT_ON: &str = "error 41, None";

/// A controller and its place in the quorum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) id: u32,
    /// Of the controller listener.
    pub(crate) port: u16,
    pub(crate) leads: bool,
    pub(crate) epoch: i32,
}

/// What was answered to each question, by what was asked.
#[derive(Debug, Default)]
pub(crate) struct Answers(BTreeMap<String, String>);

/// What controllers told, by their kinds.
type Told = Vec<(Kind, Answers)>;

/// What the controllers of a quorum said so far.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    leaders: Told,
    followers_are: bool,
}

impl Compared {
    /// Asks all controllers of a quorum and compares those in the same place. False if by then another one leads, or in another
    /// epoch: nothing of it counts.
    pub(crate) fn ask(
        &mut self,
        places: &[Place],
        is_still_so: impl FnOnce() -> anyhow::Result<bool>,
    ) -> anyhow::Result<bool> {
        let asked = self.interview(places);
        if !is_still_so()? {
            return Ok(false);
        }
        let (leaders, followers) = asked?;
        self.leaders.extend(leaders);
        self.followers_are |= same("who follows", &followers)?;
        same("who leads", &self.leaders)?;
        Ok(true)
    }

    /// The answers of leaders of a kind that was not asked yet, and of one follower of each kind.
    fn interview(&self, places: &[Place]) -> anyhow::Result<(Told, Told)> {
        let (mut leaders, mut followers) = (Told::new(), Told::new());
        for place in places {
            let is_new = |told: &Told| told.iter().all(|(kind, _)| *kind != place.kind);
            if if place.leads { is_new(&self.leaders) } else { is_new(&followers) } {
                let answers = Interview::of(*place).with_context(|| format!("ask {place:?}"))?;
                if place.leads { &mut leaders } else { &mut followers }.push((place.kind, answers));
            }
        }
        Ok((leaders, followers))
    }

    /// Both kinds were asked in both places.
    pub(crate) fn told(&self) -> anyhow::Result<String> {
        ensure!(self.followers_are && self.leaders.len() == 2, "not both kinds were asked in both places");
        let count = self.leaders.first().map_or(0, |(_, answers)| answers.0.len());
        Ok(format!("controllers of both kinds answer {count} questions the same, as leaders and as followers"))
    }
}

/// True if two were compared.
fn same(whose: &str, told: &[(Kind, Answers)]) -> anyhow::Result<bool> {
    let [(one, Answers(ones)), (other, Answers(others))] = told else {
        return Ok(false);
    };
    // What a broker forwards to a follower, Milena's has it ask the leader; Apache Kafka's answers some of it, maybe too early.
    let sent_on = |kind: Kind, answer: Option<&String>| {
        kind == Kind::Milena && answer.is_some_and(|answer| answer.starts_with(SENT_ON))
    };
    let differ = |question: &&String| {
        let (mine, theirs) = (ones.get(*question), others.get(*question));
        mine != theirs && !sent_on(*one, mine) && !sent_on(*other, theirs)
    };
    let questions: BTreeSet<&String> = ones.keys().chain(others.keys()).collect();
    let lines: Vec<String> = questions
        .into_iter()
        .filter(differ)
        .map(|question| {
            let told = |answers: &BTreeMap<String, String>| answers.get(question).cloned().unwrap_or_default();
            format!("{question}\n       {}: {}\n       {}: {}", one.name(), told(ones), other.name(), told(others))
        })
        .collect();
    ensure!(lines.is_empty(), "{whose} answers differently {} times: {}", lines.len(), lines.join("\n     "));
    Ok(true)
}

/// One controller while it is asked.
pub(crate) struct Interview {
    pub(crate) place: Place,
    wire: Wire,
    answers: Answers,
}

impl Interview {
    fn of(place: Place) -> anyhow::Result<Answers> {
        let mut interview = Interview { place, wire: Wire::connect(place.port)?, answers: Answers::default() };
        interview.served()?;
        controller_questions::ask_all(&mut interview)?;
        Ok(interview.answers)
    }

    /// Which requests it takes, but for those Milena does not serve yet.
    fn served(&mut self) -> anyhow::Result<()> {
        let request = ApiVersionsRequest {
            client_software_name: "conformance".into(),
            client_software_version: "1".into(),
            ..Default::default()
        };
        let answer = self.wire.call(3, &request)?;
        let keys = answer.api_keys.iter().filter(|row| !NOT_YET.contains(&ApiKey(row.api_key)));
        let mut rows: Vec<_> = keys.map(|row| (row.api_key, row.min_version, row.max_version)).collect();
        rows.sort_unstable();
        self.answers.0.insert("ApiVersions".to_owned(), format!("{rows:?}"));
        Ok(())
    }

    /// Asks in every version that can say it.
    pub(crate) fn ask<R: Request>(&mut self, what: &str, request: &R) -> anyhow::Result<()> {
        for version in versions::<R>() {
            if encode_request(version, 1, None, request).is_err() {
                continue;
            }
            let answer = match self.wire.call(version, request) {
                Ok(answer) => format!("{answer:?}"),
                Err(error) => {
                    self.wire = Wire::connect(self.place.port)?;
                    format!("{error:#}")
                }
            };
            self.note(format!("{} {version}, {what}", R::NAME), &answer);
        }
        Ok(())
    }

    /// The same, and in the newest version as a broker forwards it.
    pub(crate) fn ask_forwarded<R: Request>(&mut self, what: &str, request: &R) -> anyhow::Result<()> {
        self.ask(what, request)?;
        let Some(version) = versions::<R>().rev().find(|version| encode_request(*version, 1, None, request).is_ok())
        else {
            return Ok(());
        };
        let frame = flat(encode_request(version, 1, Some("client"), request).context("encode")?)?;
        let envelope = EnvelopeRequest {
            request_data: Bytes::from(frame).slice(size_of::<i32>()..),
            request_principal: Some(Bytes::from_static(PRINCIPAL)),
            client_host_address: Bytes::from_static(&[127, 0, 0, 1]),
            ..EnvelopeRequest::default()
        };
        let answer = self.wire.call(0, &envelope)?;
        let enclosed = answer.response_data.map(|data| decode_response::<R>(data, version)).transpose();
        let answer = format!("error {}, {:?}", answer.error_code, enclosed.context("what is enclosed")?);
        self.note(format!("{} {version}, {what}, in an envelope", R::NAME), &answer);
        Ok(())
    }

    /// Without what is one node's alone, and whatever the order in it.
    fn note(&mut self, question: String, answer: &str) {
        let Place { id, port, epoch, leads, .. } = self.place;
        let mut answer = answer.to_owned();
        if leads {
            // DescribeCluster lists all nodes, the leader among them.
            let own_port = if question.starts_with("DescribeCluster") { "" } else { "port: OWN," };
            for (own, word) in [
                (format!("leader_id: {id},"), "leader_id: OWN,"),
                (format!("controller_id: {id},"), "controller_id: OWN,"),
                (format!("node_id: {id},"), "node_id: OWN,"),
                (format!("host: \"127.0.0.1\", port: {port},"), own_port),
                (format!("Local controller {id} "), "Local controller OWN "),
                (format!("epoch: {epoch},"), "epoch: NOW,"),
            ] {
                answer = if word.is_empty() { answer } else { answer.replace(&own, word) };
            }
        }
        let answer = answer.replace(", unknown_tagged_fields: []", "").replace("), ", "}");
        let mut pieces: Vec<&str> =
            answer.split(['{', '}', '[', ']']).map(|piece| piece.trim_matches([' ', ',', ')'])).collect();
        pieces.sort_unstable();
        self.answers.0.insert(question, pieces.join(" | "));
    }
}

/// The stable versions of a request.
pub(crate) fn versions<R: Request>() -> std::ops::RangeInclusive<i16> {
    let newest = R::API_KEY.info().map_or(*R::VERSIONS.end(), milena_protocol::ApiKeyInfo::max_stable_version);
    *R::VERSIONS.start()..=newest
}
