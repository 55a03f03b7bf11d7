//! Classes in brackets.

use std::fmt::Write as _;

use super::{BAD_RANGE, MISSING_BRACKET, Translator};

impl Translator {
    /// After an opening bracket.
    pub(super) fn class(&mut self) -> Result<(), &'static str> {
        self.out.push('[');
        if self.take("^") {
            self.out.push('^');
        }
        let mut is_first = true;
        while is_first || self.peek() != Some(']') {
            if self.peek().is_none() {
                return Err(MISSING_BRACKET);
            }
            is_first = false;
            self.class_item()?;
        }
        self.at += 1;
        self.operand("]");
        Ok(())
    }

    fn class_item(&mut self) -> Result<(), &'static str> {
        if self.pattern.get(self.at..).is_some_and(|rest| rest.starts_with(&['[', ':']))
            && let Some(set) = self.posix_set()?
        {
            self.out.push_str(&set);
            return Ok(());
        }
        if self.peek() == Some('\\') {
            self.at += 1;
            if let Some(set) = self.set()? {
                self.out.push_str(&set);
                return Ok(());
            }
            self.at -= 1;
        }
        let low = self.class_char()?;
        let mut high = low;
        if self.peek() == Some('-') && self.pattern.get(self.at + 1).is_some_and(|next| *next != ']') {
            self.at += 1;
            high = self.class_char()?;
            if high < low {
                return Err(BAD_RANGE);
            }
        }
        let _ = write!(self.out, "\\x{{{:x}}}-\\x{{{:x}}}", u32::from(low), u32::from(high));
        Ok(())
    }

    fn class_char(&mut self) -> Result<char, &'static str> {
        match self.next() {
            Some('\\') => self.escaped_char(),
            Some(c) => Ok(c),
            None => Err(MISSING_BRACKET),
        }
    }

    /// `[:name:]` or `[:^name:]`; `None` when there is no end to it, and then the bracket is itself.
    fn posix_set(&mut self) -> Result<Option<String>, &'static str> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper",
            "word", "xdigit",
        ];
        let rest: String = self.pattern.get(self.at + 2..).unwrap_or_default().iter().collect();
        let Some(end) = rest.find(":]") else { return Ok(None) };
        let name = rest.get(..end).unwrap_or_default();
        if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(BAD_RANGE);
        }
        let set = format!("[:{name}:]");
        self.at += set.chars().count();
        Ok(Some(set))
    }
}
