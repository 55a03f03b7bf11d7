//! RE2's syntax, as Kafka takes it for subscriptions (RE2/J), turned into the syntax of the `regex` crate.
//!
//! The two engines match alike: neither looks around or back. Their syntaxes differ at the edges, so a pattern is read by
//! RE2's rules and written again with everything spelt out. What RE2/J refuses is refused with its words, which clients
//! see. Differences that are left: a pattern whose program would be larger than the crate's limit is refused, and scripts
//! of Unicode that are younger than RE2/J's tables are known.

mod class;

use std::fmt::Write as _;

/// Most repetitions RE2 takes for `{n,m}`.
const REPEAT_MAX: u32 = 1000;

pub(super) const MISSING_PAREN: &str = "missing closing )";
const UNEXPECTED_PAREN: &str = "regexp/syntax: internal error";
const MISSING_BRACKET: &str = "missing closing ]";
const MISSING_OPERAND: &str = "missing argument to repetition operator";
const NESTED_REPETITION: &str = "invalid nested repetition operator";
const BAD_REPEAT: &str = "invalid repeat count";
const BAD_PERL: &str = "invalid or unsupported Perl syntax";
const BAD_NAME: &str = "invalid named capture";
const DUPLICATE_NAME: &str = "duplicate capture group name";
const BAD_ESCAPE: &str = "invalid escape sequence";
const BAD_RANGE: &str = "invalid character class range";
const TRAILING_BACKSLASH: &str = "trailing backslash at end of expression";

/// What comes before the place that is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing that can be repeated.
    Nothing,
    Operand,
    Repetition,
}

/// Reads a pattern from left to right, once.
struct Translator {
    pattern: Vec<char>,
    at: usize,
    out: String,
    before: Before,
    open_groups: usize,
    names: Vec<String>,
}

/// The pattern in the syntax of the `regex` crate, or RE2/J's description of what is wrong with it.
pub(super) fn translate(pattern: &str) -> Result<String, &'static str> {
    let mut translator = Translator {
        pattern: pattern.chars().collect(),
        at: 0,
        out: String::with_capacity(pattern.len() * 2),
        before: Before::Nothing,
        open_groups: 0,
        names: Vec::new(),
    };
    while let Some(next) = translator.next() {
        translator.step(next)?;
    }
    if translator.open_groups > 0 {
        return Err(MISSING_PAREN);
    }
    Ok(translator.out)
}

impl Translator {
    fn peek(&self) -> Option<char> {
        self.pattern.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    /// Takes `text` if it is what comes next.
    fn take(&mut self, text: &str) -> bool {
        let is_next = text.chars().enumerate().all(|(at, c)| self.pattern.get(self.at + at) == Some(&c));
        if is_next {
            self.at += text.chars().count();
        }
        is_next
    }

    fn step(&mut self, next: char) -> Result<(), &'static str> {
        match next {
            '(' => return self.group(),
            ')' => {
                self.open_groups = self.open_groups.checked_sub(1).ok_or(UNEXPECTED_PAREN)?;
                self.operand(")");
            }
            '|' => {
                self.out.push('|');
                self.before = Before::Nothing;
            }
            '^' | '$' | '.' => {
                self.out.push(next);
                self.before = Before::Operand;
            }
            '*' | '+' | '?' => return self.repeat(&next.to_string()),
            '{' => match self.counted()? {
                Some(operator) => return self.repeat(&operator),
                None => self.literal('{'),
            },
            '[' => return self.class(),
            '\\' => return self.escape(),
            _ => self.literal(next),
        }
        Ok(())
    }

    fn operand(&mut self, text: &str) {
        self.out.push_str(text);
        self.before = Before::Operand;
    }

    fn literal(&mut self, c: char) {
        let _ = write!(self.out, "\\x{{{:x}}}", u32::from(c));
        self.before = Before::Operand;
    }

    fn repeat(&mut self, operator: &str) -> Result<(), &'static str> {
        match self.before {
            Before::Nothing => return Err(MISSING_OPERAND),
            Before::Repetition => return Err(NESTED_REPETITION),
            Before::Operand => {}
        }
        self.out.push_str(operator);
        if self.take("?") {
            self.out.push('?');
        }
        self.before = Before::Repetition;
        Ok(())
    }

    /// `{n}`, `{n,}` or `{n,m}` after its brace; `None` when it is none of them, and then the brace is itself.
    fn counted(&mut self) -> Result<Option<String>, &'static str> {
        let start = self.at;
        let Some(least) = self.number() else { return Ok(None) };
        let most = if self.take(",") { self.number() } else { Some(least) };
        let is_open = most.is_none();
        if !self.take("}") {
            self.at = start;
            return Ok(None);
        }
        if least > REPEAT_MAX || most.is_some_and(|most| most > REPEAT_MAX || most < least) {
            return Err(BAD_REPEAT);
        }
        let most = most.map(|most| most.to_string()).unwrap_or_default();
        Ok(Some(if is_open { format!("{{{least},}}") } else { format!("{{{least},{most}}}") }))
    }

    fn number(&mut self) -> Option<u32> {
        let mut number = None;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            self.at += 1;
            number = Some(number.unwrap_or(0_u32).saturating_mul(10).saturating_add(digit));
        }
        number
    }

    /// After an opening parenthesis.
    fn group(&mut self) -> Result<(), &'static str> {
        if !self.take("?") {
            self.open("(?:");
            return Ok(());
        }
        if self.take("P<") || self.take("<") {
            return self.named();
        }
        let mut flags = String::new();
        let mut is_negated = false;
        let mut since_sign = 0;
        while let Some(next) = self.next() {
            match next {
                'i' | 'm' | 's' | 'U' => since_sign += 1,
                '-' if !is_negated => {
                    is_negated = true;
                    since_sign = 0;
                    continue;
                }
                ':' | ')' if !is_negated || since_sign > 0 => {
                    return self.flagged(&flags, next == ':');
                }
                _ => return Err(BAD_PERL),
            }
            // The crate takes each flag once.
            let sign = if is_negated { "-" } else { "" };
            let _ = write!(flags, "(?{sign}{next})");
        }
        Err(BAD_PERL)
    }

    fn flagged(&mut self, flags: &str, is_group: bool) -> Result<(), &'static str> {
        if is_group {
            self.open("(?:");
        }
        self.out.push_str(flags);
        self.before = Before::Nothing;
        Ok(())
    }

    fn open(&mut self, text: &str) {
        self.open_groups += 1;
        self.out.push_str(text);
        self.before = Before::Nothing;
    }

    /// After `(?P<` or `(?<`. Names do not matter to a match.
    fn named(&mut self) -> Result<(), &'static str> {
        let mut name = String::new();
        loop {
            match self.next() {
                Some('>') if !name.is_empty() => break,
                Some(c) if c.is_ascii_alphanumeric() || c == '_' => name.push(c),
                _ => return Err(BAD_NAME),
            }
        }
        if self.names.contains(&name) {
            return Err(DUPLICATE_NAME);
        }
        self.names.push(name);
        self.open("(?:");
        Ok(())
    }

    /// After a backslash outside of a class.
    fn escape(&mut self) -> Result<(), &'static str> {
        match self.peek() {
            Some(c @ ('A' | 'b' | 'B' | 'z')) => {
                self.at += 1;
                self.operand(&format!("(?:\\{c})"));
            }
            Some('Q') => {
                self.at += 1;
                while !self.take("\\E") {
                    let Some(c) = self.next() else { break };
                    self.literal(c);
                }
            }
            _ => match self.set()? {
                Some(set) => self.operand(&set),
                None => {
                    let c = self.escaped_char()?;
                    self.literal(c);
                }
            },
        }
        Ok(())
    }

    /// After a backslash: a set of characters such as `\d` or `\pL`, spelt for inside or outside of a class.
    fn set(&mut self) -> Result<Option<String>, &'static str> {
        let set = match self.peek() {
            Some('d') => "[0-9]",
            Some('D') => "[^0-9]",
            Some('s') => "[\\t\\n\\x0c\\r ]",
            Some('S') => "[^\\t\\n\\x0c\\r ]",
            Some('w') => "[0-9A-Za-z_]",
            Some('W') => "[^0-9A-Za-z_]",
            Some(c @ ('p' | 'P')) => {
                self.at += 1;
                return self.unicode_set(c == 'P').map(Some);
            }
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(set.to_owned()))
    }

    /// After `\p` or `\P`.
    fn unicode_set(&mut self, is_negated: bool) -> Result<String, &'static str> {
        let mut name = String::new();
        match self.next() {
            Some('{') => loop {
                match self.next() {
                    Some('}') => break,
                    Some(c) => name.push(c),
                    None => return Err(BAD_RANGE),
                }
            },
            Some(c) => name.push(c),
            None => return Err(BAD_RANGE),
        }
        let (name, is_negated) = match name.strip_prefix('^') {
            Some(name) => (name, !is_negated),
            None => (name.as_str(), is_negated),
        };
        if !is_unicode_table(name) {
            return Err(BAD_RANGE);
        }
        if name == "Cs" {
            // Surrogates are no characters.
            return Ok(if is_negated { "\\p{Any}" } else { "[^\\p{Any}]" }.to_owned());
        }
        let p = if is_negated { 'P' } else { 'p' };
        Ok(format!("\\{p}{{{name}}}"))
    }

    /// After a backslash: one character.
    fn escaped_char(&mut self) -> Result<char, &'static str> {
        let c = self.next().ok_or(TRAILING_BACKSLASH)?;
        let code = match c {
            '1'..='7' if !matches!(self.peek(), Some('0'..='7')) => return Err(BAD_ESCAPE),
            '0'..='7' => {
                let mut code = u32::from(c) - u32::from('0');
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
                    self.at += 1;
                    code = code * 8 + digit;
                }
                code
            }
            'x' => self.hexadecimal()?,
            'a' => 7,
            'f' => 0x0c,
            'n' => 0x0a,
            'r' => 0x0d,
            't' => 0x09,
            'v' => 0x0b,
            c if c.is_ascii_alphanumeric() => return Err(BAD_ESCAPE),
            c => u32::from(c),
        };
        char::from_u32(code).ok_or(BAD_ESCAPE)
    }

    /// After `\x`.
    fn hexadecimal(&mut self) -> Result<u32, &'static str> {
        let digit = |translator: &mut Translator| translator.next().and_then(|c| c.to_digit(16)).ok_or(BAD_ESCAPE);
        if !self.take("{") {
            return Ok(digit(self)? * 16 + digit(self)?);
        }
        let mut code = digit(self)?;
        while !self.take("}") {
            code = code * 16 + digit(self)?;
            if code > u32::from(char::MAX) {
                return Err(BAD_ESCAPE);
            }
        }
        Ok(code)
    }
}

/// Whether RE2/J has a table of that name: a general category, or a script by its full name.
fn is_unicode_table(name: &str) -> bool {
    const CATEGORIES: [&str; 36] = [
        "C", "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No",
        "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs",
    ];
    if name == "Any" || CATEGORIES.contains(&name) {
        return true;
    }
    let is_word = |word: &str| {
        let mut letters = word.chars();
        letters.next().is_some_and(|c| c.is_ascii_uppercase()) && letters.all(|c| c.is_ascii_lowercase())
    };
    // Shorter names are categories; a script is one if the crate knows it as one.
    name.len() > 2 && name.split('_').all(is_word) && ::regex::Regex::new(&format!("\\p{{sc={name}}}")).is_ok()
}
