//! A message as the generator sees it: structures in a flat list, types resolved, versions cut to the valid ones.

use crate::naming::{capitalized, snake};
use crate::notation::{Field, Message, Versions};

/// The type of a field, without its nullability.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Type {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

/// One Rust struct to generate.
pub(crate) struct Structure {
    pub(crate) name: String,
    pub(crate) fields: Vec<Member>,
    pub(crate) is_top: bool,
}

/// One field of a structure. All version ranges lie within the message's.
pub(crate) struct Member {
    pub(crate) kafka_name: String,
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) versions: Versions,
    pub(crate) nullable: Versions,
    pub(crate) tag: Option<u32>,
    pub(crate) tagged: Versions,
    pub(crate) default: Option<String>,
    pub(crate) ignorable: bool,
    pub(crate) flexible: Versions,
}

/// One message and its structures, the top one first.
pub(crate) struct Unit {
    pub(crate) message: Message,
    pub(crate) module: String,
    pub(crate) flexible: Versions,
    pub(crate) structures: Vec<Structure>,
}

pub(crate) fn intersect(one: Versions, other: Versions) -> Versions {
    let both = Versions { min: one.min.max(other.min), max: one.max.min(other.max) };
    if both.is_empty() { Versions::NONE } else { both }
}

/// A Rust condition on `version` that holds for `wanted` within `all`; `None` when it always holds, `Some("false")`
/// when never.
pub(crate) fn condition(wanted: Versions, all: Versions) -> Option<String> {
    let wanted = intersect(wanted, all);
    if wanted.is_empty() {
        return Some("false".to_owned());
    }
    match (wanted.min > all.min, wanted.max < all.max) {
        (false, false) => None,
        (true, false) => Some(format!("version >= {}", wanted.min)),
        (false, true) => Some(format!("version <= {}", wanted.max)),
        (true, true) => Some(format!("({}..={}).contains(&version)", wanted.min, wanted.max)),
    }
}

impl Unit {
    pub(crate) fn new(message: Message) -> Result<Unit, String> {
        let mut unit = Unit {
            module: snake(&message.name),
            flexible: intersect(message.flexible, message.versions),
            structures: Vec::new(),
            message,
        };
        let top = unit.message.clone();
        unit.add(&top.name, &top.fields, true)?;
        for shared in &top.structs {
            unit.add(&shared.name, &shared.fields, false)?;
        }
        Ok(unit)
    }

    fn add(&mut self, name: &str, fields: &[Field], is_top: bool) -> Result<(), String> {
        if self.structures.iter().any(|known| known.name == name) {
            return Err(format!("{}: two structures {name}", self.message.name));
        }
        let fields_of_it = fields.iter().map(|field| self.member(field)).collect::<Result<Vec<_>, _>>()?;
        self.structures.push(Structure { name: name.to_owned(), fields: fields_of_it, is_top });
        for field in fields.iter().filter(|field| !field.fields.is_empty()) {
            self.add(&capitalized(field.type_name.trim_start_matches("[]")), &field.fields, false)?;
        }
        Ok(())
    }

    fn member(&self, field: &Field) -> Result<Member, String> {
        let versions = intersect(field.versions, self.message.versions);
        let ty = parse_type(&field.type_name);
        if field.tag.is_some() && ty == Type::Records {
            return Err(format!("{}.{}: records cannot be tagged", self.message.name, field.name));
        }
        Ok(Member {
            kafka_name: field.name.clone(),
            name: snake(&field.name),
            ty,
            versions,
            nullable: intersect(field.nullable, versions),
            tag: field.tag,
            tagged: intersect(field.tagged, versions),
            default: field.default.clone(),
            ignorable: field.ignorable,
            flexible: intersect(field.flexible.unwrap_or(self.message.flexible), self.message.versions),
        })
    }

    pub(crate) fn versions(&self) -> Versions {
        self.message.versions
    }
}

fn parse_type(name: &str) -> Type {
    match name {
        "bool" => Type::Bool,
        "int8" => Type::Int8,
        "int16" => Type::Int16,
        "uint16" => Type::Uint16,
        "int32" => Type::Int32,
        "uint32" => Type::Uint32,
        "int64" => Type::Int64,
        "float64" => Type::Float64,
        "uuid" => Type::Uuid,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "records" => Type::Records,
        other => match other.strip_prefix("[]") {
            Some(element) => Type::Array(Box::new(parse_type(element))),
            None => Type::Struct(capitalized(other)),
        },
    }
}

impl Type {
    /// The Rust type.
    pub(crate) fn rust(&self) -> String {
        match self {
            Type::Bool => "bool".to_owned(),
            Type::Int8 => "i8".to_owned(),
            Type::Int16 => "i16".to_owned(),
            Type::Uint16 => "u16".to_owned(),
            Type::Int32 => "i32".to_owned(),
            Type::Uint32 => "u32".to_owned(),
            Type::Int64 => "i64".to_owned(),
            Type::Float64 => "f64".to_owned(),
            Type::Uuid => "Uuid".to_owned(),
            Type::String => "Text".to_owned(),
            Type::Bytes => "Bytes".to_owned(),
            Type::Records => "Records".to_owned(),
            Type::Struct(name) => name.clone(),
            Type::Array(element) => format!("Vec<{}>", element.rust()),
        }
    }

    /// The part of `read_*` and `write_*` that names the type, for types of a fixed length.
    pub(crate) fn fixed(&self) -> Option<&'static str> {
        Some(match self {
            Type::Bool => "bool",
            Type::Int8 => "i8",
            Type::Int16 => "i16",
            Type::Uint16 => "u16",
            Type::Int32 => "i32",
            Type::Uint32 => "u32",
            Type::Int64 => "i64",
            Type::Float64 => "f64",
            Type::Uuid => "uuid",
            _ => return None,
        })
    }
}

impl Member {
    pub(crate) fn is_option(&self) -> bool {
        !self.nullable.is_empty()
    }

    pub(crate) fn rust_type(&self) -> String {
        if self.is_option() { format!("Option<{}>", self.ty.rust()) } else { self.ty.rust() }
    }

    /// The default as a Rust expression. Kafka's rules (FieldSpec): a nullable field without a default is empty, not
    /// null, except for records, which are null.
    pub(crate) fn default_value(&self) -> String {
        let text = self.default.as_deref();
        if self.is_option() && (text == Some("null") || self.ty == Type::Records) {
            return "None".to_owned();
        }
        let value = match (&self.ty, text) {
            (Type::Bool, text) => (text == Some("true")).to_string(),
            (Type::Float64, text) => format!("{:?}_f64", text.unwrap_or("0").parse::<f64>().unwrap_or_default()),
            (ty, text) if ty.fixed().is_some() && *ty != Type::Uuid => text.unwrap_or("0").to_owned(),
            (Type::String, Some(text)) if text != "null" => format!("Text::from_static({text:?})"),
            (Type::Struct(name), _) => format!("{name}::default()"),
            (Type::Uuid, _) => "Uuid::ZERO".to_owned(),
            (Type::Array(_), _) => "Vec::new()".to_owned(),
            (Type::String, _) => "Text::new()".to_owned(),
            (Type::Bytes, _) => "Bytes::new()".to_owned(),
            _ => "Records::EMPTY".to_owned(),
        };
        if self.is_option() { format!("Some({value})") } else { value }
    }

    /// Whether `place` differs from the default, as a Rust condition.
    pub(crate) fn is_set(&self, place: &str) -> String {
        match (self.is_option(), self.default_value().as_str(), &self.ty) {
            (true, "None", _) => format!("{place}.is_some()"),
            (true, _, Type::Array(_) | Type::String | Type::Bytes) => {
                format!("!{place}.as_ref().is_some_and(|value| value.is_empty())")
            }
            (false, _, Type::Array(_) | Type::Bytes | Type::Records) => format!("!{place}.is_empty()"),
            (false, "Text::new()", _) => format!("!{place}.is_empty()"),
            (false, "true", Type::Bool) => format!("!{place}"),
            (false, "false", Type::Bool) => place.to_owned(),
            (_, default, _) => format!("{place} != {default}"),
        }
    }
}
