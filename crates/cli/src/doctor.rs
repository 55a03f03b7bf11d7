//! `milena doctor`: says beforehand what stands in the way of a start, for people or as JSON.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use milena_broker::doctor::{Diagnosis, Request, Verdict, examine};
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Log directories; those of the config without them
    #[arg(required_unless_present = "config")]
    pub(crate) directories: Vec<PathBuf>,
    /// The server.properties the node is to start with
    #[arg(long, short = 'c')]
    pub(crate) config: Option<PathBuf>,
    /// Read every record and check its checksum
    #[arg(long)]
    pub(crate) deep: bool,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Exit code 0 if nothing stands in the way of Milena, else 1.
pub(crate) fn doctor(arguments: &DoctorArguments) -> anyhow::Result<ExitCode> {
    let diagnosis = examine(&Request {
        directories: arguments.directories.clone(),
        config: arguments.config.clone(),
        is_deep: arguments.deep,
    });
    let text = if arguments.json { format!("{:#}\n", as_json(&diagnosis)) } else { as_text(&diagnosis) };
    stdout().write_all(text.as_bytes())?;
    Ok(if diagnosis.can_start() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_text(diagnosis: &Diagnosis) -> String {
    let mut lines: Vec<String> = Vec::new();
    for finding in &diagnosis.findings {
        lines.push(format!("{:4} {}: {}", finding.verdict.name(), finding.subject, finding.text));
    }
    let stops = diagnosis.findings.iter().filter(|finding| finding.verdict == Verdict::Stop).count();
    lines.push(match stops {
        0 => "Milena starts here: yes".to_owned(),
        count => format!("Milena starts here: no, {count} in the way"),
    });
    for answer in &diagnosis.releases {
        let how =
            if answer.obstacles.is_empty() { "yes".to_owned() } else { format!("no, {}", answer.obstacles.join("; ")) };
        lines.push(format!("Apache Kafka {} starts here: {how}", answer.release));
    }
    lines.join("\n") + "\n"
}

fn as_json(diagnosis: &Diagnosis) -> Value {
    let finding = |finding: &milena_broker::doctor::Finding| json!({ "verdict": finding.verdict.name(), "subject": finding.subject, "text": finding.text });
    let release = |answer: &milena_broker::doctor::ReleaseAnswer| json!({ "release": answer.release, "starts": answer.obstacles.is_empty(), "obstacles": answer.obstacles });
    json!({
        "starts": diagnosis.can_start(),
        "findings": diagnosis.findings.iter().map(finding).collect::<Vec<_>>(),
        "apacheKafka": diagnosis.releases.iter().map(release).collect::<Vec<_>>(),
    })
}
