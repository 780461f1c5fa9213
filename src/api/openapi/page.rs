//! The document as one page of HTML, for people: no script, nothing from elsewhere, works without styles too.

#![allow(clippy::indexing_slicing, reason = "indexing a JSON value gives null for what is not there")]

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// An operation's method, path and description.
type Listed = (String, String, Value);

/// The page.
pub fn render(document: &Value) -> String {
    let mut page = Page { out: HEAD.to_owned(), document };
    page.contents();
    page.operations();
    page.schemas();
    page.out.push_str("</main>\n</body>\n</html>\n");
    page.out
}

const HEAD: &str = concat!(
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
    "<title>Backend.AI API Gateway</title>\n<style>\n",
    include_str!("page.css"),
    "</style>\n</head>\n<body>\n",
);

struct Page<'a> {
    out: String,
    document: &'a Value,
}

impl Page<'_> {
    /// Title, description, and links to all operations.
    fn contents(&mut self) {
        let info = &self.document["info"];
        self.add(format_args!(
            "<header><h1>{}</h1>\n<p>{}</p></header>\n",
            text(&info["title"]),
            text(&info["version"])
        ));
        self.out.push_str("<nav aria-label=\"Operations\">\n");
        for (tag, operations) in self.by_tag() {
            self.add(format_args!("<h2>{}</h2>\n<ul>\n", escape(&tag)));
            for (method, path, operation) in operations {
                let (id, summary) = (text(&operation["operationId"]), text(&operation["summary"]));
                let name = format!("<code>{} {}</code>", method.to_uppercase(), escape(&path));
                self.add(format_args!("<li><a href=\"#{id}\">{name}</a> {summary}</li>\n"));
            }
            self.out.push_str("</ul>\n");
        }
        self.out.push_str("<p><a href=\"#schemas\">Schemas</a></p>\n</nav>\n<main>\n");
        self.prose(&info["description"]);
        self.out.push_str("<section id=\"signing\"><h2>Saying who asks</h2>\n<dl>\n");
        for (name, scheme) in members(&self.document["components"]["securitySchemes"]) {
            let header = text(&scheme["name"]);
            self.add(format_args!("<dt id=\"auth-{}\"><code>{header}</code></dt>\n<dd>", escape(name)));
            self.prose(&scheme["description"]);
            self.out.push_str("</dd>\n");
        }
        self.out.push_str("</dl></section>\n");
    }

    fn operations(&mut self) {
        for (_, operations) in self.by_tag() {
            for (method, path, operation) in operations {
                self.operation(&method, &path, &operation);
            }
        }
    }

    fn operation(&mut self, method: &str, path: &str, operation: &Value) {
        let id = text(&operation["operationId"]);
        let name = format!("<code>{} {}</code>", method.to_uppercase(), escape(path));
        self.add(format_args!("<section id=\"{id}\"><h2>{name}</h2>\n<p>{}</p>\n", text(&operation["summary"])));
        self.prose(&operation["description"]);
        let signed = operation["security"].as_array().is_some_and(|ways| !ways.is_empty());
        self.out.push_str(if signed {
            "<p><a href=\"#signing\">Signed</a>.</p>\n"
        } else {
            "<p>Open to anybody.</p>\n"
        });
        self.parameters(operation);
        if let Some(content) = operation["requestBody"]["content"].as_object() {
            self.out.push_str("<h3>Body</h3>\n");
            self.content(content);
        }
        self.out.push_str("<h3>Answers</h3>\n<dl>\n");
        for (status, answer) in members(&operation["responses"]) {
            let answer = self.resolved(answer).clone();
            self.add(format_args!("<dt>{}</dt>\n<dd>", escape(status)));
            self.prose(&answer["description"]);
            let content = answer["content"].as_object().filter(|it| !it.contains_key("application/problem+json"));
            content.into_iter().for_each(|content| self.content(content));
            self.out.push_str("</dd>\n");
        }
        self.out.push_str("</dl>\n</section>\n");
    }

    fn parameters(&mut self, operation: &Value) {
        let Some(parameters) = operation["parameters"].as_array() else { return };
        self.out.push_str("<h3>Parameters</h3>\n<dl>\n");
        for parameter in parameters {
            let parameter = self.resolved(parameter).clone();
            let needed = if parameter["required"] == true { "" } else { ", optional" };
            let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
            self.add(format_args!("<dt><code>{name}</code> ({place}{needed})</dt>\n<dd>"));
            self.prose(&parameter["description"]);
            self.schema(&parameter["schema"]);
            self.out.push_str("</dd>\n");
        }
        self.out.push_str("</dl>\n");
    }

    fn content(&mut self, content: &Map<String, Value>) {
        for (media_type, media) in content {
            self.add(format_args!("<p><code>{}</code></p>\n", escape(media_type)));
            self.schema(&media["schema"]);
            if let Some(example) = media.get("example") {
                self.add(format_args!("<p>Example:</p>\n<pre>{}</pre>\n", escape(&example.to_string())));
            }
        }
    }

    fn schemas(&mut self) {
        self.out.push_str("<h2 id=\"schemas\">Schemas</h2>\n");
        for (name, schema) in members(&self.document["components"]["schemas"]) {
            let name = escape(name);
            self.add(format_args!("<section id=\"schema-{name}\"><h3>{name}</h3>\n"));
            self.schema(schema);
            self.out.push_str("</section>\n");
        }
    }

    /// A schema: a link where it has a name, members as a list, else as it is written.
    fn schema(&mut self, schema: &Value) {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            let name = escape(name);
            return self.add(format_args!("<p><a href=\"#schema-{name}\">{name}</a></p>\n"));
        }
        let Some(properties) = schema["properties"].as_object() else {
            return self.add(format_args!("<p><code>{}</code></p>\n", escape(&schema.to_string())));
        };
        self.out.push_str("<dl>\n");
        for (name, member) in properties {
            let required = schema["required"].as_array().is_some_and(|names| names.iter().any(|it| it == name));
            let needed = if required { "" } else { ", optional" };
            self.add(format_args!("<dt><code>{}</code>{needed}</dt>\n<dd>", escape(name)));
            self.prose(&member["description"]);
            self.schema(&without_description(member));
            self.out.push_str("</dd>\n");
        }
        self.out.push_str("</dl>\n");
    }

    /// A description: paragraphs, fenced blocks, and code between backticks are all the Markdown that is in use.
    fn prose(&mut self, markdown: &Value) {
        let Some(markdown) = markdown.as_str() else { return };
        for (index, part) in markdown.split("```").enumerate() {
            if index % 2 == 1 {
                self.add(format_args!("<pre>{}</pre>\n", escape(part.trim_matches('\n'))));
                continue;
            }
            for paragraph in part.split("\n\n").filter(|it| !it.trim().is_empty()) {
                self.add(format_args!("<p>{}</p>\n", inline(paragraph)));
            }
        }
    }

    fn by_tag(&self) -> Vec<(String, Vec<Listed>)> {
        let mut tags: Vec<(String, Vec<_>)> = Vec::new();
        for (path, item) in members(&self.document["paths"]) {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let tag = operation["tags"][0].as_str().unwrap_or_default();
                let entry = (method.clone(), path.clone(), operation.clone());
                match tags.iter_mut().find(|(name, _)| name == tag) {
                    Some((_, operations)) => operations.push(entry),
                    None => tags.push((tag.to_owned(), vec![entry])),
                }
            }
        }
        tags
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        let path = value["$ref"].as_str().map(|path| path.trim_start_matches('#'));
        path.and_then(|path| self.document.pointer(path)).unwrap_or(value)
    }

    fn add(&mut self, what: std::fmt::Arguments<'_>) {
        // A String takes everything.
        let _ = self.out.write_fmt(what);
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn without_description(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(members) = schema.as_object_mut() {
        members.remove("description");
    }
    schema
}

fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

/// Code between backticks, and line ends that are marked by two blanks.
fn inline(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let html: String = parts
        .map(|(index, part)| if index % 2 == 1 { format!("<code>{}</code>", escape(part)) } else { escape(part) })
        .collect();
    html.replace("  \n", "<br>\n")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_is_escaped() {
        assert_eq!(inline("a `b<c>` & \"d\"  \ne"), "a <code>b&lt;c&gt;</code> &amp; &quot;d&quot;<br>\ne");
    }

    #[test]
    fn every_link_of_the_page_leads_somewhere_on_it() {
        let page = render(&super::super::document());
        let links: Vec<_> = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(links.len() > 50);
        for link in links {
            let id = link.strip_prefix('#').unwrap();
            assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
        }
        assert!(!page.contains("src=") && !page.contains("<script"));
    }
}
