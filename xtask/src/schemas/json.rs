//! Reads one of Kafka's schema files (JSON with `//` comments) into the model of the notation. Prose is dropped;
//! a word the notation has no place for is an error, so that a new Kafka cannot add a fact unnoticed.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value};

use super::notation::{Field, Message, Struct, Versions};

/// Parses the text of one schema file. `None` for messages that were removed (`"validVersions": "none"`).
pub(crate) fn message(text: &str) -> Result<Option<Message>> {
    let value: Value = serde_json::from_str(&without_comments(text))?;
    let object = value.as_object().context("a schema is an object")?;
    let known = [
        "apiKey",
        "type",
        "name",
        "validVersions",
        "deprecatedVersions",
        "flexibleVersions",
        "listeners",
        "latestVersionUnstable",
        "fields",
        "commonStructs",
    ];
    refuse_unknown(object, &known)?;
    let name = string(object, "name")?.context("a message has a name")?;
    let valid = versions(object, "validVersions")?.with_context(|| format!("{name} has no validVersions"))?;
    if valid.is_empty() {
        return Ok(None);
    }
    let api_key = match object.get("apiKey") {
        Some(key) => Some(i16::try_from(key.as_i64().context("apiKey is a number")?)?),
        None => None,
    };
    let listeners = match object.get("listeners").and_then(Value::as_array) {
        Some(names) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        None => Vec::new(),
    };
    let mut structs = Vec::new();
    for shared in object.get("commonStructs").and_then(Value::as_array).into_iter().flatten() {
        let shared = shared.as_object().context("a struct is an object")?;
        refuse_unknown(shared, &["name", "versions", "fields"])?;
        structs.push(Struct {
            name: string(shared, "name")?.context("a struct has a name")?,
            versions: versions(shared, "versions")?.context("a struct has versions")?,
            fields: fields(shared)?,
        });
    }
    Ok(Some(Message {
        kind: string(object, "type")?.context("a message has a type")?,
        api_key,
        name,
        versions: valid,
        flexible: versions(object, "flexibleVersions")?.unwrap_or(Versions::NONE),
        listeners,
        latest_version_unstable: flag(object, "latestVersionUnstable")?,
        fields: fields(object)?,
        structs,
    }))
}

/// Cuts `//` comments, which Kafka's files have on lines of their own or after a value, never inside strings.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let mut in_string = false;
        let mut previous = ' ';
        for character in line.chars() {
            if character == '"' && previous != '\\' {
                in_string = !in_string;
            }
            if character == '/' && previous == '/' && !in_string {
                out.pop();
                break;
            }
            out.push(character);
            previous = character;
        }
        out.push('\n');
    }
    out
}

fn fields(object: &Map<String, Value>) -> Result<Vec<Field>> {
    let mut all = Vec::new();
    for value in object.get("fields").and_then(Value::as_array).into_iter().flatten() {
        let object = value.as_object().context("a field is an object")?;
        all.push(field(object).with_context(|| format!("field {:?}", object.get("name")))?);
    }
    Ok(all)
}

fn field(object: &Map<String, Value>) -> Result<Field> {
    let known = [
        "name",
        "type",
        "versions",
        "about",
        "default",
        "fields",
        "nullableVersions",
        "entityType",
        "ignorable",
        "mapKey",
        "tag",
        "taggedVersions",
        "zeroCopy",
        "flexibleVersions",
    ];
    refuse_unknown(object, &known)?;
    let tagged = versions(object, "taggedVersions")?;
    let tag = match object.get("tag") {
        Some(tag) => Some(u32::try_from(tag.as_u64().context("a tag is a number")?)?),
        None => None,
    };
    // An empty default and a JSON null both mean "the type's own default" (FieldSpec).
    let default = match object.get("default") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    };
    Ok(Field {
        name: string(object, "name")?.context("a field has a name")?,
        type_name: string(object, "type")?.context("a field has a type")?,
        versions: versions(object, "versions")?.or(tagged).context("a field has versions")?,
        nullable: versions(object, "nullableVersions")?.unwrap_or(Versions::NONE),
        tag,
        tagged: tagged.unwrap_or(Versions::NONE),
        default,
        ignorable: flag(object, "ignorable")?,
        key: flag(object, "mapKey")?,
        entity: string(object, "entityType")?,
        zero_copy: flag(object, "zeroCopy")?,
        flexible: versions(object, "flexibleVersions")?,
        fields: fields(object)?,
    })
}

fn refuse_unknown(object: &Map<String, Value>, known: &[&str]) -> Result<()> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => bail!("the notation has no place for `{key}`"),
        None => Ok(()),
    }
}

fn string(object: &Map<String, Value>, key: &str) -> Result<Option<String>> {
    match object.get(key) {
        None => Ok(None),
        Some(value) => Ok(Some(value.as_str().with_context(|| format!("{key} is text"))?.to_owned())),
    }
}

fn flag(object: &Map<String, Value>, key: &str) -> Result<bool> {
    match object.get(key) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(Value::String(flag)) => Ok(flag == "true"),
        Some(other) => bail!("{key} is {other}"),
    }
}

fn versions(object: &Map<String, Value>, key: &str) -> Result<Option<Versions>> {
    match string(object, key)? {
        None => Ok(None),
        Some(text) => Ok(Some(Versions::parse(&text).map_err(|why| anyhow!(why))?)),
    }
}
