//! `/kernel/…`: sessions.

use http::StatusCode;
use rmpv::Value as Msgpack;
use serde_json::{Map, Value, json};

use super::{Call, fields::Fields, translate::to_problem};
use crate::{
    auth::ApiVersion,
    http::{Answer, Problem},
    registry::{Mode, Run, RunResult, SessionName, Wanted},
    stream::execute::Texts,
    wire::json as wire_json,
};

/// Longest id of a run that is taken from a client.
const RUN_ID_MAX: usize = 64;

/// `POST /kernel/create`: gets the session of that name, or makes it.
///
/// # Errors
/// Those of the catalogue: image, quota, agents, another image under the same name.
pub async fn create(call: Call) -> Result<Answer, Problem> {
    let wanted = wanted(&call.fields()?, call.version)?;
    let created = call.api.registry.get_or_create(call.owner.clone(), wanted).await.map_err(to_problem)?;
    let document = json!({"kernelId": created.name.as_str(), "created": created.created});
    Ok(Answer::json(StatusCode::CREATED, &document))
}

/// `GET /kernel/{id}`: what the session is, and what it used.
///
/// # Errors
/// There is none.
pub async fn info(call: Call) -> Result<Answer, Problem> {
    let session = call.session()?;
    let used = call.api.registry.statistics(session).await;
    let document = json!({
        "lang": &*session.lang,
        "age": u64::try_from(session.created.elapsed().as_millis()).unwrap_or(u64::MAX),
        "queryTimeout": -1,
        "idleTimeout": -1,
        "memoryLimit": session.mem_slot * 1024,
        "maxCpuCredit": -1,
        "numQueriesExecuted": call.queries,
        "idle": -1,
        "memoryUsed": used.mem_cur_bytes / 1024,
        "cpuCreditUsed": used.cpu_used as i64,
    });
    Ok(Answer::json(StatusCode::OK, &document))
}

/// `DELETE /kernel/{id}`: ends the session.
///
/// # Errors
/// There is none, or its agent fails.
pub async fn destroy(call: Call) -> Result<Answer, Problem> {
    let name = call.session()?.name.clone();
    let stats = call.api.registry.destroy(call.owner.clone(), name).await.map_err(to_problem)?;
    let stats = stats.map_or(Value::Null, |stats| Value::Object(stats.0));
    Ok(Answer::json(StatusCode::OK, &json!({"stats": stats})))
}

/// `POST /kernel/{id}`: runs code.
///
/// # Errors
/// The call is malformed, or the agent fails.
pub async fn execute(call: Call) -> Result<Answer, Problem> {
    let run = run(&call.fields()?, call.version, call.run_status.clone())?;
    let result = call.api.registry.execute(call.session()?, run).await.map_err(to_problem)?;
    Ok(Answer::json(StatusCode::OK, &json!({"result": result_document(&result, call.version)})))
}

/// `PATCH /kernel/{id}`: restarts the kernel. Its files stay, its variables go.
///
/// # Errors
/// The agent fails.
pub async fn restart(call: Call) -> Result<Answer, Problem> {
    call.api.registry.restart(call.session()?).await.map_err(to_problem)?;
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

/// `POST /kernel/{id}/interrupt`: interrupts what runs, as Ctrl-C would.
///
/// # Errors
/// The agent fails.
pub async fn interrupt(call: Call) -> Result<Answer, Problem> {
    call.api.registry.interrupt(call.session()?).await.map_err(to_problem)?;
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

/// `POST /kernel/{id}/complete`: how a line may go on.
///
/// # Errors
/// The call is malformed, or the agent fails.
pub async fn complete(call: Call) -> Result<Answer, Problem> {
    let fields = call.fields()?;
    let code = fields.text("code")?.ok_or_else(|| fields.wrong("code", "is missing!"))?.to_owned();
    let options = fields.object("options")?;
    let options = options.iter().map(|(name, value)| (name.into(), wire_json::from_json(value))).collect();
    let run = Run { id: String::new(), mode: Mode::Complete, code, options: Msgpack::Map(options), last_status: None };
    let result = call.api.registry.execute(call.session()?, run).await.map_err(to_problem)?;
    let completions = wire_json::to_json(&result.completions);
    Ok(Answer::json(StatusCode::OK, &json!({"result": {"status": result.status, "completions": completions}})))
}

/// `GET /kernel/{id}/logs`: what the kernel logged.
///
/// # Errors
/// The agent fails, or is too old.
pub async fn logs(call: Call) -> Result<Answer, Problem> {
    let logs = call.api.registry.logs(call.session()?).await.map_err(to_problem)?;
    Ok(Answer::json(StatusCode::OK, &json!({"result": {"logs": logs}})))
}

/// The id of the run that a body is about, if it names one.
pub fn run_id(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        #[serde(rename = "runId")]
        run_id: Option<String>,
    }
    let named: Named = serde_json::from_slice(body).ok()?;
    named.run_id.filter(|id| is_run_id(id))
}

fn is_run_id(id: &str) -> bool {
    (1..=RUN_ID_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
}

fn wanted(fields: &Fields, version: ApiVersion) -> Result<Wanted, Problem> {
    let lang = fields.required_text("lang")?.to_owned();
    let token = fields.required_text("clientSessionToken")?;
    let name = SessionName::parse(token).ok_or_else(|| {
        fields.wrong("clientSessionToken", "is not 4 to 64 characters of letters, digits, -, _ and .")
    })?;
    let config = match version.major() {
        1 => Fields::parse(b"{}", crate::http::Kind::InvalidApiParams)?,
        _ => fields.object("config")?,
    };
    let environ = config.object("environ")?;
    let variable = |(name, value): (&str, &Value)| match value {
        _ if name.is_empty() || name.contains(['=', '\0']) => {
            Err(config.wrong("environ", "has a name that is empty or has = or NUL in it"))
        }
        Value::String(text) if text.contains('\0') => Err(config.wrong("environ", "has a value with NUL in it")),
        Value::String(text) => Ok((name.to_owned(), text.clone())),
        Value::Number(number) => Ok((name.to_owned(), number.to_string())),
        _ => Err(config.wrong("environ", "has a value that is not a text")),
    };
    let tag = fields.text("tag")?;
    if tag.is_some_and(|tag| tag.contains('\0')) {
        return Err(fields.wrong("tag", "has NUL in it"));
    }
    let mounts = config.texts("mounts")?;
    if mounts.iter().any(|name| name.contains('\0')) {
        return Err(config.wrong("mounts", "has a name with NUL in it"));
    }
    // One node for each session is all that there is: a cluster of one.
    if config.positive("clusterSize")?.is_some_and(|size| size != 1.0) {
        return Err(config.wrong("clusterSize", "can only be 1"));
    }
    Ok(Wanted {
        name,
        lang,
        reuse: fields.boolean("reuseIfExists")?.unwrap_or(true),
        tag: tag.map(|tag| tag.chars().take(64).collect()),
        environ: environ.iter().map(variable).collect::<Result<_, _>>()?,
        mounts,
        memory: config.positive("instanceMemory")?.map(|mib| mib.ceil() as i64),
        cores: config.positive("instanceCores")?,
        gpus: config.at_least_zero("instanceGPUs")?,
    })
}

/// Reads an execute call.
fn run(fields: &Fields, version: ApiVersion, last_status: Option<String>) -> Result<Run, Problem> {
    let mode = mode(fields, version)?;
    if version.major() > 1 && !fields.has("runId") {
        return Err(fields.wrong("runId", "is missing!"));
    }
    run_in(mode, fields, last_status)
}

/// Reads the call that begins a stream, which is one run: it may leave out the run's id.
pub(super) fn streamed_run(
    fields: &Fields,
    version: ApiVersion,
    last_status: Option<String>,
) -> Result<(Run, Texts), Problem> {
    let run = run_in(mode(fields, version)?, fields, last_status)?;
    let texts = match version.major() > 1 && !fields.has("runId") {
        true => Texts::Lines,
        false => Texts::Messages,
    };
    Ok((run, texts))
}

fn mode(fields: &Fields, version: ApiVersion) -> Result<Mode, Problem> {
    match (version.major(), fields.text("mode")?) {
        (1, _) => Ok(Mode::Query),
        (_, Some(name)) => Mode::parse(name)
            .ok_or_else(|| fields.wrong("mode", "is not one of query, batch, complete, continue, input")),
        (_, None) => Err(fields.wrong("mode", "is missing or empty!")),
    }
}

fn run_in(mode: Mode, fields: &Fields, last_status: Option<String>) -> Result<Run, Problem> {
    let id = match fields.text("runId")? {
        Some(id) if is_run_id(id) => id.to_owned(),
        Some(_) => return Err(fields.wrong("runId", "is not 1 to 64 printable characters")),
        None if matches!(mode, Mode::Continue | Mode::Input) => {
            return Err(fields.wrong("runId", "is missing or empty!"));
        }
        None => format!("{:016x}", rand::random::<u64>()),
    };
    let code = match (mode, fields.text("code")?) {
        (Mode::Query, None) => return Err(fields.wrong("code", "is missing!")),
        (_, code) => code.unwrap_or_default().to_owned(),
    };
    let options = fields.object("options")?;
    let options = options.iter().map(|(name, value)| (name.into(), option(name, value))).collect();
    Ok(Run { id, mode, code, options: Msgpack::Map(options), last_status })
}

/// An option as agents take it: a step of a batch is a text, never nil, and the empty one skips it.
fn option(name: &str, value: &Value) -> Msgpack {
    match (name, value) {
        ("clean" | "build" | "exec", Value::Null) => "".into(),
        _ => wire_json::from_json(value),
    }
}

/// A result as clients of a version get it.
pub(super) fn result_document(result: &RunResult, version: ApiVersion) -> Value {
    let mut document = Map::new();
    let mut put = |name: &str, value: Value| document.insert(name.to_owned(), value);
    put("runId", json!(result.run_id));
    put("status", json!(result.status));
    put("exitCode", json!(result.exit_code));
    put("options", wire_json::to_json(&result.options));
    put("files", wire_json::to_json(&result.files));
    let console = wire_json::to_json(&result.console);
    if version.major() == 1 {
        let streams = v1_streams(&console);
        document.extend(streams);
    } else {
        put("console", console);
        put("completions", wire_json::to_json(&result.completions));
    }
    Value::Object(document)
}

/// The console's records as clients of version 1 have them: texts joined, media and HTML in lists.
fn v1_streams(console: &Value) -> Map<String, Value> {
    let records = console.as_array().map(Vec::as_slice).unwrap_or_default();
    let of = |stream: &str| {
        let named = move |record: &&Value| record.get(0).and_then(Value::as_str) == Some(stream);
        let data: Vec<Value> =
            records.iter().filter(named).map(|record| record.get(1).cloned().unwrap_or(Value::Null)).collect();
        data
    };
    let joined = |stream: &str| Value::String(of(stream).iter().filter_map(Value::as_str).collect());
    let mut streams = Map::new();
    streams.insert("stdout".into(), joined("stdout"));
    streams.insert("stderr".into(), joined("stderr"));
    streams.insert("media".into(), Value::Array(of("media")));
    streams.insert("html".into(), Value::Array(of("html")));
    streams
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Kind;

    fn fields(value: Value) -> Fields {
        Fields::parse(value.to_string().as_bytes(), Kind::InvalidApiParams).unwrap()
    }

    fn title(problem: Problem) -> String {
        problem.to_json()["title"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_wish_says_what_is_wrong_with_it() {
        let refuse = |value: Value, what: &str| {
            let title = title(wanted(&fields(value), ApiVersion::V4).unwrap_err());
            assert!(title.contains(what), "{title}");
        };
        refuse(json!({}), "lang is missing or empty!");
        refuse(json!({"lang": ""}), "lang is missing or empty!");
        refuse(json!({"lang": "python", "clientSessionToken": "abc"}), "clientSessionToken");
        let with = |config: Value| json!({"lang": "python", "clientSessionToken": "abcd", "config": config});
        refuse(with(json!([])), "config");
        refuse(with(json!({"mounts": "x"})), "mounts");
        refuse(with(json!({"environ": {"a": []}})), "environ");
        refuse(with(json!({"environ": {"a=b": "c"}})), "environ");
        refuse(with(json!({"environ": {"a": "b\0"}})), "environ");
        refuse(with(json!({"mounts": ["\0"]})), "mounts");
        refuse(with(json!({"instanceCores": 0})), "instanceCores");
        refuse(with(json!({"instanceGPUs": -1})), "instanceGPUs");
        for (sent, gpus) in [(json!(0), 0.0), (json!("0"), 0.0), (json!("1"), 1.0), (json!(" 0.5 "), 0.5)] {
            let wanted = wanted(&fields(with(json!({"instanceGPUs": sent}))), ApiVersion::V4).unwrap();
            assert_eq!(wanted.gpus, Some(gpus));
        }
        for wrong in ["-1", "", "one", "inf", "NaN"] {
            refuse(with(json!({"instanceGPUs": wrong})), "instanceGPUs");
        }
        refuse(with(json!({"instanceMemory": -1})), "instanceMemory");
        refuse(with(json!({"clusterSize": 2})), "clusterSize");
    }

    #[test]
    fn version_1_ignores_the_config_and_needs_neither_mode_nor_run_id() {
        let body = json!({"lang": "python", "clientSessionToken": "abcd", "config": {"mounts": "x"}});
        assert!(wanted(&fields(body), ApiVersion::V1).unwrap().mounts.is_empty());
        let run = run(&fields(json!({"code": "1"})), ApiVersion::V1, None).unwrap();
        assert_eq!((run.mode, run.id.len()), (Mode::Query, 16));
    }

    #[test]
    fn run_ids_may_be_null_but_not_missing_except_to_go_on() {
        let parse = |value: Value| run(&fields(value), ApiVersion::V2, None);
        assert!(parse(json!({"mode": "query", "code": "1"})).is_err());
        assert!(parse(json!({"mode": "query", "code": "1", "runId": null})).is_ok());
        assert!(parse(json!({"mode": "continue", "code": "", "runId": null})).is_err());
        assert!(parse(json!({"mode": "dance", "code": "", "runId": "r"})).is_err());
        assert!(parse(json!({"mode": "query", "code": 3, "runId": "r"})).is_err());
    }

    #[test]
    fn a_stream_needs_no_run_id_and_without_one_every_text_is_a_line() {
        let parse = |value: Value, version| {
            streamed_run(&fields(value), version, None).map(|(run, texts)| (run.id.len(), texts)).ok()
        };
        let released = json!({"mode": "query", "code": "1", "options": {}});
        assert_eq!(parse(released.clone(), ApiVersion::V4), Some((16, Texts::Lines)));
        assert_eq!(parse(released, ApiVersion::V1), Some((16, Texts::Messages)));
        let null = json!({"mode": "query", "code": "1", "runId": null});
        assert_eq!(parse(null, ApiVersion::V4), Some((16, Texts::Messages)));
        assert_eq!(parse(json!({"mode": "continue", "code": ""}), ApiVersion::V4), None);
        assert_eq!(parse(json!({"code": "1"}), ApiVersion::V4), None);
    }

    #[test]
    fn steps_of_a_batch_are_texts_and_never_nil() {
        let body = json!({"mode": "batch", "code": "", "runId": "r", "options": {"build": null, "exec": "*", "buildLog": true}});
        let run = run(&fields(body), ApiVersion::V2, None).unwrap();
        let wanted = vec![("build".into(), "".into()), ("exec".into(), "*".into()), ("buildLog".into(), true.into())];
        assert_eq!(run.options, Msgpack::Map(wanted));
    }

    #[test]
    fn version_1_gets_streams_instead_of_a_console() {
        let console = json!([["stdout", "a"], ["stderr", "e"], ["media", ["image/png", "x"]], ["stdout", "b"]]);
        let streams = v1_streams(&console);
        assert_eq!(streams["stdout"], "ab");
        assert_eq!(streams["stderr"], "e");
        assert_eq!(streams["media"], json!([["image/png", "x"]]));
        assert_eq!(streams["html"], json!([]));
    }
}
