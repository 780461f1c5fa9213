//! `/folders/…`: virtual folders.

use std::rc::Rc;

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, fields::Fields, kernel_files::parameters, parts::Parts, query};
use crate::{
    engine,
    http::{
        Answer, Chunks, Kind, Problem, chunks, gzip,
        multipart::{Boundary, MixedWriter, PartHead, attachment},
    },
    vfolder::{Accessible, Download, Error, FolderName, FolderPath, Folders, Permission, Source, Upload},
};

/// The header that tells the bytes of all files of a download.
const TOTAL: HeaderName = HeaderName::from_static("x-total-payloads-length");

/// An upload may be as long as it likes: its folder's limits bound it.
const NO_LIMIT: u64 = u64::MAX;

/// `POST /folders`: makes a folder.
///
/// # Errors
/// 400: a bad name or host, or the name is taken.
pub async fn create(call: Call) -> Result<Answer, Problem> {
    let fields = call.fields()?;
    let name: FolderName =
        fields.required_text("name")?.parse().map_err(|why| fields.wrong("name", &format!("{why}")))?;
    let host = host(&fields)?;
    let id = folders(&call).create(&call.owner, &name, host).await.map_err(to_problem)?;
    Ok(Answer::json(StatusCode::CREATED, &json!({"id": id.simple().to_string(), "name": name.as_str()})))
}

/// The host that is wished, if any: release 18.12's command line sends a list of none or one.
fn host(fields: &Fields) -> Result<Option<&str>, Problem> {
    match fields.get("host").and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => Ok(None),
        Some([Value::String(host)]) => Ok(Some(host)),
        _ => fields.text("host"),
    }
}

/// `GET /folders`: those that the key owns or was let into.
///
/// # Errors
/// The database is away.
pub async fn list(call: Call) -> Result<Answer, Problem> {
    let found = folders(&call).list(&call.owner).await.map_err(to_problem)?;
    Ok(Answer::json(StatusCode::OK, &found.iter().map(listed).collect::<Vec<_>>()))
}

fn listed(folder: &Accessible) -> Value {
    json!({
        "name": folder.name,
        "id": folder.id.simple().to_string(),
        "is_owner": folder.is_owner,
        "permission": folder.permission.as_str(),
    })
}

/// `GET /folders/{name}`: what it is and holds.
///
/// # Errors
/// There is none.
pub async fn info(call: Call) -> Result<Answer, Problem> {
    let info = folders(&call).info(&call.owner, &name(&call)?).await.map_err(to_problem)?;
    let mut document = listed(&info.folder);
    if let Some(members) = document.as_object_mut() {
        members.insert("numFiles".into(), json!(info.usage.files));
        members.insert("created".into(), json!(info.folder.created_at.map(|at| at.to_string())));
    }
    Ok(Answer::json(StatusCode::OK, &document))
}

/// `DELETE /folders/{name}`: removes it with its files.
///
/// # Errors
/// There is none, it is another's, or a session has it mounted.
pub async fn delete(call: Call) -> Result<Answer, Problem> {
    let force = query::values(call.query(), "force").iter().any(|value| value == "true");
    folders(&call).delete(&call.owner, &name(&call)?, force).await.map_err(to_problem)?;
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

/// `POST /folders/{name}/mkdir`: makes a directory, with those above it.
///
/// # Errors
/// A bad path, or no right to write.
pub async fn mkdir(call: Call) -> Result<Answer, Problem> {
    let path = path(call.fields()?.required_text("path")?)?;
    folders(&call).make_directory(&call.owner, &name(&call)?, path).await.map_err(to_problem)?;
    Ok(Answer::empty(StatusCode::CREATED))
}

/// `GET /folders/{name}/files`: what is in a directory.
///
/// # Errors
/// A bad path, or no such folder.
pub async fn files(call: Call) -> Result<Answer, Problem> {
    let named = parameters(&call, "path")?;
    let path = FolderPath::directory(named.first().map_or("", String::as_str)).map_err(|why| to_problem(why.into()))?;
    let found = folders(&call).files(&call.owner, &name(&call)?, path).await.map_err(to_problem)?;
    // As the first servers did: JSON in a text.
    let text = serde_json::to_string(&found).unwrap_or_default();
    Ok(Answer::json(StatusCode::OK, &json!({"files": text})))
}

/// `DELETE /folders/{name}/delete_files`: removes files, and directories if `recursive`.
///
/// # Errors
/// A bad path, or no right to delete.
pub async fn delete_files(call: Call) -> Result<Answer, Problem> {
    let fields = call.fields()?;
    let paths = fields.texts("files")?.iter().map(|text| path(text)).collect::<Result<Vec<_>, _>>()?;
    let recursive = fields.boolean("recursive")?.unwrap_or(false);
    folders(&call).delete_files(&call.owner, &name(&call)?, paths, recursive).await.map_err(to_problem)?;
    Ok(Answer::json(StatusCode::OK, &json!({})))
}

/// `POST /folders/{name}/upload`: puts files in, all or none.
///
/// # Errors
/// 400: it is no multipart body or has a bad file name; the folder may not hold as much, or not be written.
pub async fn upload(mut call: Call) -> Result<Answer, Problem> {
    let mut parts = Parts::of(&mut call, NO_LIMIT)?;
    let mut upload = folders(&call).upload(&call.owner, &name(&call)?).await.map_err(to_problem)?;
    while let Some(head) = parts.next().await? {
        take_file(&mut upload, &head, &mut parts).await?;
    }
    upload.commit().await.map_err(to_problem)?;
    Ok(Answer::empty(StatusCode::CREATED))
}

async fn take_file(upload: &mut Upload, head: &PartHead, parts: &mut Parts) -> Result<(), Problem> {
    let name = head.disposition.filename.as_deref();
    let name = name.ok_or_else(|| Kind::InvalidApiParams.because("a part has no file name"))?;
    let path = FolderPath::from_bytes(name).map_err(|why| to_problem(why.into()))?;
    let mut file = upload.begin(path).await.map_err(to_problem)?;
    while let Some(bytes) = parts.data().await? {
        file = file.write(&bytes).await.map_err(to_problem)?;
    }
    upload.finish(file).await.map_err(to_problem)
}

/// `GET /folders/{name}/download`: files, one part each, in the gzip format.
///
/// # Errors
/// A bad path, or no such file or folder.
pub async fn download(call: Call) -> Result<Answer, Problem> {
    let named = parameters(&call, "files")?;
    if named.is_empty() {
        return Err(Kind::InvalidApiParams.because("files is missing or empty!"));
    }
    let paths = named.iter().map(|text| path(text)).collect::<Result<Vec<_>, _>>()?;
    let opened = folders(&call).download(&call.owner, &name(&call)?, paths).await.map_err(to_problem)?;
    let writer = MixedWriter::new(Boundary::random(rand::random()));
    let (chunks, body) = chunks();
    let mut answer = Answer::stream(StatusCode::OK, writer.content_type(), body);
    answer.set(TOTAL, HeaderValue::from(opened.total()));
    engine::spawn(async move {
        // A client that is gone has nobody to be told by.
        let _ = send_all(&opened, &writer, &chunks).await;
    });
    Ok(answer)
}

/// The client is gone, or was shown that the answer is not whole.
struct BrokenOff;

async fn send_all(files: &Download, writer: &MixedWriter, chunks: &Chunks) -> Result<(), BrokenOff> {
    for file in files.files() {
        let (name, length) = (attachment(file.path().name()), gzip::length(file.size()).to_string());
        let headers = [
            ("Content-Type", "application/octet-stream"),
            ("Content-Encoding", "gzip"),
            ("Content-Length", length.as_str()),
            ("Content-Disposition", name.as_str()),
        ];
        send(chunks, Ok(writer.head(&headers))).await?;
        send_file(file, chunks).await?;
        send(chunks, Ok(MixedWriter::PART_END)).await?;
    }
    send(chunks, Ok(writer.end())).await
}

async fn send_file(file: &Source, chunks: &Chunks) -> Result<(), BrokenOff> {
    let mut encoder = gzip::Encoder::default();
    send(chunks, Ok(encoder.head())).await?;
    let mut offset = 0;
    while offset < file.size() {
        let piece = match file.read(offset).await {
            Ok(piece) if !piece.is_empty() => piece,
            outcome => {
                if let Err(error) = outcome {
                    tracing::warn!(%error, "a download is broken off");
                }
                send(chunks, Err(std::io::Error::other("the file cannot be read to its end"))).await?;
                return Err(BrokenOff);
            }
        };
        offset += piece.len() as u64;
        send(chunks, Ok(encoder.piece(&piece))).await?;
    }
    send(chunks, Ok(encoder.end())).await
}

async fn send(chunks: &Chunks, chunk: std::io::Result<bytes::Bytes>) -> Result<(), BrokenOff> {
    chunks.send(chunk).await.map_err(|_| BrokenOff)
}

/// `POST /folders/{name}/invite`: invites users.
///
/// # Errors
/// It is another's folder.
pub async fn invite(call: Call) -> Result<Answer, Problem> {
    let fields = call.fields()?;
    let permission = fields.text("perm")?.unwrap_or("rw");
    let permission: Permission = permission.parse().map_err(|_| fields.wrong("perm", "is not one of ro, rw, wd"))?;
    let users = match fields.get("user_ids").and_then(Value::as_array) {
        Some(users) => users.iter().map(user).collect::<Option<Vec<_>>>(),
        None => None,
    };
    let users = users.ok_or_else(|| fields.wrong("user_ids", "is not a list of users"))?;
    let invited = folders(&call).invite(&call.owner, &name(&call)?, permission, &users).await.map_err(to_problem)?;
    Ok(Answer::json(StatusCode::CREATED, &json!({"invited_ids": invited})))
}

/// A user's id: a text, or a whole number however it is written.
fn user(value: &Value) -> Option<String> {
    /// Up to here every whole number is itself as a float.
    const WHOLE: f64 = 9_007_199_254_740_992.0;
    match value.as_str() {
        Some(text) => (!text.contains('\0')).then(|| text.to_owned()),
        None => value.as_f64().filter(|id| id.fract() == 0.0 && id.abs() < WHOLE).map(|id| format!("{}", id as i64)),
    }
}

/// `GET /folders/invitations/list`: those that wait for the key's user.
///
/// # Errors
/// The database is away.
pub async fn invitations(call: Call) -> Result<Answer, Problem> {
    let found = folders(&call).invitations(&call.owner).await.map_err(to_problem)?;
    let shown = |it: &crate::vfolder::Invitation| {
        json!({
            "id": it.id.to_string(),
            "inviter": it.inviter,
            "perm": it.permission.as_str(),
            "state": it.state,
            "created_at": it.created_at.to_string(),
            "vfolder_id": it.vfolder.simple().to_string(),
        })
    };
    let shown: Vec<Value> = found.iter().map(shown).collect();
    Ok(Answer::json(StatusCode::OK, &json!({"invitations": shown})))
}

/// `POST /folders/invitations/accept`: lets a key of the caller's into the folder.
///
/// # Errors
/// There is no such invitation, or the name is taken.
pub async fn accept(call: Call) -> Result<Answer, Problem> {
    let fields = call.fields()?;
    let let_in = fields.text("inv_ak")?.unwrap_or(&call.owner).to_owned();
    if let_in.contains('\0') {
        return Err(fields.wrong("inv_ak", "has NUL in it"));
    }
    let id = invitation(&call)?;
    folders(&call).accept(&call.owner, id, &let_in).await.map_err(to_problem)?;
    // Command lines show it.
    Ok(Answer::json(StatusCode::CREATED, &json!({"msg": "The folder can be used."})))
}

/// `DELETE /folders/invitations/delete`: refuses an invitation, or takes it back.
///
/// # Errors
/// There is no such invitation.
pub async fn refuse(call: Call) -> Result<Answer, Problem> {
    folders(&call).refuse(&call.owner, invitation(&call)?).await.map_err(to_problem)?;
    Ok(Answer::json(StatusCode::OK, &json!({"msg": "The invitation is gone."})))
}

fn invitation(call: &Call) -> Result<Uuid, Problem> {
    let fields = call.fields()?;
    Uuid::parse_str(fields.required_text("inv_id")?).map_err(|_| fields.wrong("inv_id", "is not an id"))
}

/// The folder's name in the path. PostgreSQL takes no NUL, so no folder has one in its name.
fn name(call: &Call) -> Result<String, Problem> {
    let name = call.param();
    if name.contains('\0') { Err(Kind::FolderNotFound.into()) } else { Ok(name) }
}

fn folders(call: &Call) -> Rc<Folders> {
    call.api.folders.clone()
}

fn path(text: &str) -> Result<FolderPath, Problem> {
    FolderPath::parse(text).map_err(|why| to_problem(why.into()))
}

/// What the client is told. The text of an error that is not the client's is for the log alone.
fn to_problem(error: Error) -> Problem {
    match &error {
        Error::NotFound | Error::NoInvitation => Kind::FolderNotFound.into(),
        // A key that sees a folder is told why not; the catalogue has no other word for it.
        Error::NotPermitted(_) | Error::NotOwner | Error::NotYourKey => Kind::FolderNotFound.because(error.to_string()),
        Error::AlreadyExists => Kind::FolderAlreadyExists.into(),
        Error::InUse => Kind::FolderInUse.into(),
        Error::QuotaExceeded(_) => Kind::QuotaExceeded.because(error.to_string()),
        Error::KeyInactive => Kind::AuthFailed.into(),
        Error::NoHost => Kind::ServiceUnavailable.because(error.to_string()),
        _ if error.is_clients() => Kind::InvalidApiParams.because(error.to_string()),
        Error::Postgres(_) | Error::Ending => {
            tracing::warn!(%error, "a folder could not be used");
            Kind::ServiceUnavailable.because("the database is away").retry_after(1)
        }
        _ => {
            tracing::error!(%error, "a folder's volume fails");
            Kind::InternalServerError.into()
        }
    }
}
