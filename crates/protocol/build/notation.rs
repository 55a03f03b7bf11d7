//! The schema notation: its model and its parser. One file a message; the first line names it, then come its
//! versions, then one line a field, nested by four spaces:
//!
//! ```text
//! request 0 ProduceRequest
//! versions 3-13
//! flexible 9+
//! listeners broker
//!
//! TransactionalId: string 3+ nullable default null entity transactionalId
//! TopicData: []TopicProduceData 0+
//!     Name: string 0-12 key ignorable entity topicName
//! ```
//!
//! Words after a field's versions: `nullable [versions]`, `tag N [versions]` (both take the field's versions when none
//! follow), `default X`, `ignorable`, `key`, `entity X`, `zero-copy`, `flexible versions`. `struct Name versions` opens
//! a structure that several fields share. Used by `build.rs` and, by path, by `cargo xtask schemas`.

use std::fmt;

/// An inclusive range of versions; empty when `min > max`; open-ended ranges end at `i16::MAX`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Versions {
    pub(crate) min: i16,
    pub(crate) max: i16,
}

/// One message: a request, response, header, data message, coordinator key or value, or metadata record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message {
    pub(crate) kind: String,
    pub(crate) api_key: Option<i16>,
    pub(crate) name: String,
    pub(crate) versions: Versions,
    pub(crate) flexible: Versions,
    pub(crate) listeners: Vec<String>,
    pub(crate) latest_version_unstable: bool,
    pub(crate) fields: Vec<Field>,
    pub(crate) structs: Vec<Struct>,
}

/// A structure named apart from any field, used by several.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) versions: Versions,
    pub(crate) fields: Vec<Field>,
}

/// One field, with the fields of the structure it declares, if it declares one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) type_name: String,
    pub(crate) versions: Versions,
    pub(crate) nullable: Versions,
    pub(crate) tag: Option<u32>,
    pub(crate) tagged: Versions,
    pub(crate) default: Option<String>,
    pub(crate) ignorable: bool,
    pub(crate) key: bool,
    pub(crate) entity: Option<String>,
    pub(crate) zero_copy: bool,
    pub(crate) flexible: Option<Versions>,
    pub(crate) fields: Vec<Field>,
}

impl Versions {
    pub(crate) const NONE: Versions = Versions { min: 0, max: -1 };

    /// Reads `none`, `N`, `N-M` or `N+`.
    pub(crate) fn parse(text: &str) -> Result<Versions, String> {
        let number = |text: &str| text.parse::<i16>().map_err(|_| format!("`{text}` is not a version"));
        if text == "none" {
            Ok(Versions::NONE)
        } else if let Some(min) = text.strip_suffix('+') {
            Ok(Versions { min: number(min)?, max: i16::MAX })
        } else if let Some((min, max)) = text.split_once('-') {
            Ok(Versions { min: number(min)?, max: number(max)? })
        } else {
            Ok(Versions { min: number(text)?, max: number(text)? })
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.min > self.max
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            none if none.is_empty() => f.write_str("none"),
            Versions { min, max: i16::MAX } => write!(f, "{min}+"),
            Versions { min, max } if min == max => write!(f, "{min}"),
            Versions { min, max } => write!(f, "{min}-{max}"),
        }
    }
}

impl Message {
    /// Parses one file. Errors carry the line.
    pub(crate) fn parse(text: &str) -> Result<Message, String> {
        let mut message = Message {
            kind: String::new(),
            api_key: None,
            name: String::new(),
            versions: Versions::NONE,
            flexible: Versions::NONE,
            listeners: Vec::new(),
            latest_version_unstable: false,
            fields: Vec::new(),
            structs: Vec::new(),
        };
        let mut in_struct = false;
        for (at, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            message.take_line(line, at == 0, &mut in_struct).map_err(|why| format!("line {}: {why}", at + 1))?;
        }
        Ok(message)
    }

    fn take_line(&mut self, line: &str, first: bool, in_struct: &mut bool) -> Result<(), String> {
        let depth = (line.len() - line.trim_start().len()) / 4;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [kind, key, name] if first => {
                self.kind = (*kind).to_owned();
                self.api_key = Some(key.parse().map_err(|_| format!("`{key}` is not a key"))?);
                self.name = (*name).to_owned();
            }
            [kind, name] if first => {
                self.kind = (*kind).to_owned();
                self.name = (*name).to_owned();
            }
            ["versions", versions] => self.versions = Versions::parse(versions)?,
            ["flexible", versions] => self.flexible = Versions::parse(versions)?,
            ["listeners", listeners @ ..] => self.listeners = listeners.iter().map(|name| (*name).to_owned()).collect(),
            ["latest-version-unstable"] => self.latest_version_unstable = true,
            ["struct", name, versions] => {
                *in_struct = true;
                let versions = Versions::parse(versions)?;
                self.structs.push(Struct { name: (*name).to_owned(), versions, fields: Vec::new() });
            }
            [name, type_name, versions, rest @ ..] => {
                let name = name.strip_suffix(':').ok_or("a field's name ends with a colon")?;
                let field = Field::parse(name, type_name, Versions::parse(versions)?, rest)?;
                let (fields, depth) = match (*in_struct, self.structs.last_mut()) {
                    (true, Some(open)) => (&mut open.fields, depth.checked_sub(1).ok_or("indent the fields")?),
                    _ => (&mut self.fields, depth),
                };
                nest(fields, depth)?.push(field);
            }
            _ => return Err(format!("cannot read `{line}`")),
        }
        Ok(())
    }
}

fn nest(mut fields: &mut Vec<Field>, depth: usize) -> Result<&mut Vec<Field>, String> {
    for _ in 0..depth {
        fields = &mut fields.last_mut().ok_or("indented below nothing")?.fields;
    }
    Ok(fields)
}

impl Field {
    fn parse(name: &str, type_name: &str, versions: Versions, words: &[&str]) -> Result<Field, String> {
        let mut field = Field {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            versions,
            nullable: Versions::NONE,
            tag: None,
            tagged: Versions::NONE,
            default: None,
            ignorable: false,
            key: false,
            entity: None,
            zero_copy: false,
            flexible: None,
            fields: Vec::new(),
        };
        let mut words = words.iter().copied().peekable();
        while let Some(word) = words.next() {
            let own_versions = |text: Option<&str>| match text {
                Some(text) => Versions::parse(text),
                None => Ok(versions),
            };
            match word {
                "nullable" => field.nullable = own_versions(words.next_if(|next| starts_with_digit(next)))?,
                "tag" => {
                    let tag = words.next().ok_or("`tag` wants a number")?;
                    field.tag = Some(tag.parse().map_err(|_| format!("`{tag}` is not a tag"))?);
                    field.tagged = own_versions(words.next_if(|next| starts_with_digit(next)))?;
                }
                "default" => field.default = Some(words.next().ok_or("`default` wants a value")?.to_owned()),
                "entity" => field.entity = Some(words.next().ok_or("`entity` wants a name")?.to_owned()),
                "flexible" => field.flexible = Some(Versions::parse(words.next().unwrap_or_default())?),
                "ignorable" => field.ignorable = true,
                "key" => field.key = true,
                "zero-copy" => field.zero_copy = true,
                other => return Err(format!("unknown word `{other}`")),
            }
        }
        Ok(field)
    }
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
}
