//! How much a document may ask for.
//!
//! It is measured with its fragments spread, each fragment once, before validation: a validator that follows every
//! spread is kept busy for years by thirty fragments that spread the next one twice.

use std::collections::HashMap;

use async_graphql::{
    Name, ServerError,
    parser::{
        parse_query,
        types::{DocumentOperations, ExecutableDocument, Field, FragmentDefinition, Selection, SelectionSet},
    },
};

/// Fields below fields. The deepest of our own queries has 4, tools that ask for the schema up to 15.
pub const DEPTH: usize = 20;
/// Sum over all fields: 1 for each, and 10 more for each that has fields of its own, which are statements and rows.
pub const COMPLEXITY: usize = 3000;
/// Fields of the query itself, aliases included.
pub const ROOT_FIELDS: usize = 50;
/// Brackets in brackets, of whatever kind: the parser descends into each.
pub const NESTING: usize = 64;
/// Named fragments.
pub const FRAGMENTS: usize = 100;
/// Variables of an operation.
pub const VARIABLES: usize = 100;

/// What a field with fields of its own counts more than others.
const RELATION: usize = 10;

/// Parses a document that asks for no more than it may.
///
/// # Errors
/// It is none, or asks for more; the message names the limit.
pub fn parse(text: &str) -> Result<ExecutableDocument, ServerError> {
    if nesting(text) > NESTING {
        return Err(limit("nesting", format!("brackets stand in more than {NESTING} others")));
    }
    let document = parse_query(text)?;
    check(&document)?;
    Ok(document)
}

fn limit(name: &str, why: String) -> ServerError {
    ServerError::new(format!("The query is over the limit of {name}: {why}."), None)
}

/// How many brackets are open at once, at most; those in strings and comments are none.
fn nesting(text: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' | b'(' => open += 1,
            b'}' | b']' | b')' => open = open.saturating_sub(1),
            b'#' => drop(bytes.find(|byte| matches!(byte, b'\n' | b'\r'))),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// Skips to a string's end. Of a block string (`"""`) each quote is taken for a string of its own, which finds at
/// most more brackets than there are.
fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' | b'\n' => return,
            _ => {}
        }
    }
}

fn check(document: &ExecutableDocument) -> Result<(), ServerError> {
    if document.fragments.len() > FRAGMENTS {
        return Err(limit("fragments", format!("there are more than {FRAGMENTS}")));
    }
    if let DocumentOperations::Multiple(operations) = &document.operations
        && operations.len() > ROOT_FIELDS
    {
        return Err(limit("operations", format!("there are more than {ROOT_FIELDS}")));
    }
    let mut measured = Measured { fragments: HashMap::new(), document };
    let mut complexity: usize = 0;
    for (_, operation) in document.operations.iter() {
        if operation.node.variable_definitions.len() > VARIABLES {
            return Err(limit("variables", format!("there are more than {VARIABLES}")));
        }
        let size = measured.set(&operation.node.selection_set.node, 0)?;
        if size.depth > DEPTH {
            return Err(limit("depth", format!("fields stand in more than {DEPTH} others")));
        }
        if size.width > ROOT_FIELDS {
            return Err(limit("root fields", format!("there are more than {ROOT_FIELDS}, aliases included")));
        }
        complexity = complexity.saturating_add(size.complexity);
    }
    // Also of fragments that nothing spreads: validation goes through them all the same.
    for fragment in document.fragments.values() {
        complexity = complexity.saturating_add(measured.set(&fragment.node.selection_set.node, 0)?.complexity);
    }
    match complexity {
        0..=COMPLEXITY => Ok(()),
        _ => Err(limit("complexity", format!("its fields add up to more than {COMPLEXITY}"))),
    }
}

/// How much a set of fields asks for.
#[derive(Clone, Copy, Default)]
struct Size {
    depth: usize,
    width: usize,
    complexity: usize,
}

struct Measured<'a> {
    /// `None`: being measured.
    fragments: HashMap<&'a Name, Option<Size>>,
    document: &'a ExecutableDocument,
}

impl<'a> Measured<'a> {
    fn set(&mut self, set: &'a SelectionSet, level: usize) -> Result<Size, ServerError> {
        if level > NESTING {
            return Err(limit("depth", format!("fields and fragments stand in more than {NESTING} others")));
        }
        let mut size = Size::default();
        for item in &set.items {
            let more = match &item.node {
                Selection::Field(field) => self.field(&field.node, level)?,
                Selection::InlineFragment(inline) => self.set(&inline.node.selection_set.node, level + 1)?,
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name.node, level)?,
            };
            size.depth = size.depth.max(more.depth);
            size.width = size.width.saturating_add(more.width);
            size.complexity = size.complexity.saturating_add(more.complexity).saturating_add(1);
        }
        Ok(size)
    }

    fn field(&mut self, field: &'a Field, level: usize) -> Result<Size, ServerError> {
        let below = self.set(&field.selection_set.node, level + 1)?;
        let relation = if field.selection_set.node.items.is_empty() { 0 } else { RELATION };
        Ok(Size { depth: below.depth + 1, width: 1, complexity: below.complexity.saturating_add(relation) })
    }

    fn fragment(&mut self, name: &'a Name, level: usize) -> Result<Size, ServerError> {
        match self.fragments.get(name) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => return Err(ServerError::new(format!("The fragment {name} spreads itself."), None)),
            None => {}
        }
        // One that is missing is left to validation.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Size::default()) };
        self.fragments.insert(name, None);
        let FragmentDefinition { selection_set, .. } = &fragment.node;
        let size = self.set(&selection_set.node, level + 1)?;
        self.fragments.insert(name, Some(size));
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse(text).unwrap_err().message
    }

    #[test]
    fn each_limit_is_named() {
        let deep = |n: usize| format!("{}a{}", "{a".repeat(n), "}".repeat(n));
        assert!(parse(&deep(DEPTH).replace("aa", "a")).is_ok());
        assert!(refusal(&deep(50).replace("aa", "a{a}")).contains("limit of depth"));
        assert!(refusal(&"{a".repeat(100_000)).contains("limit of nesting"));
        let aliases = |n: usize| format!("{{{}}}", (0..n).map(|n| format!("a{n}:a ")).collect::<String>());
        assert!(parse(&aliases(ROOT_FIELDS)).is_ok());
        assert!(refusal(&aliases(10_000)).contains("limit of root fields"));
        assert!(refusal(&format!("{{a{}}}", aliases(10_000))).contains("limit of complexity"));
        let variables: String = (0..101).map(|n| format!("$v{n}:Int ")).collect();
        assert!(refusal(&format!("query({variables}){{a}}")).contains("limit of variables"));
        let fragments: String = (0..101).map(|n| format!("fragment f{n} on Q{{a}} ")).collect();
        assert!(refusal(&format!("{{a}} {fragments}")).contains("limit of fragments"));
        let operations: String = (0..51).map(|n| format!("query q{n}{{a}} ")).collect();
        assert!(refusal(&operations).contains("limit of operations"));
    }

    #[test]
    fn fragments_are_counted_wherever_they_are_spread_and_measured_once() {
        let bomb = |last: &str| {
            let doubling: String = (0..60).map(|n| format!("fragment f{n} on Q{{...f{0} ...f{0}}} ", n + 1)).collect();
            format!("{{...f0}} {doubling} fragment f60 on Q{{{last}}}")
        };
        assert!(refusal(&bomb("a")).contains("limit of"), "{}", refusal(&bomb("a")));
        assert!(refusal(&bomb("...missing")).contains("limit of"));
        assert!(refusal("{...a} fragment a on Q{...b} fragment b on Q{a{...a}}").contains("fragment a spreads itself"));
        let chain: String = (0..99).map(|n| format!("fragment f{n} on Q{{...f{}}} ", n + 1)).collect();
        assert!(refusal(&format!("{{...f0}} {chain} fragment f99 on Q{{a}}")).contains("limit of depth"));
        assert!(parse("{...a x{...a}} fragment a on Q{a b}").is_ok());
    }

    #[test]
    fn brackets_in_strings_and_comments_are_none() {
        assert_eq!(nesting(r#"{a(b:"(((\"[[[", c:[1])} # {{{{"#), 3);
        assert_eq!(nesting("# {{{\n{a}"), 1);
    }
}
