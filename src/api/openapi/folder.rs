//! `/folders/…`: virtual folders.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    files::{archives, form, json_text, several},
    operation::Operation,
    schema::{boolean, count, list, nullable, object, one_of, pattern, reference, text, with},
};
use crate::http::Kind;

const TAG: &str = "Virtual folders";

/// What there is to say of a route.
pub fn describe(method: &str, path: &str) -> Option<Operation> {
    Some(match (method, path) {
        ("POST", "/folders") => create(),
        ("GET", "/folders") => Operation::new("listFolders", TAG, "The folders that a key owns or was let into").json(
            StatusCode::OK,
            "The folders.",
            list(reference("FolderEntry")),
        ),
        ("GET", "/folders/{name}") => of_folder("getFolder", "What a folder is and holds").json(
            StatusCode::OK,
            "The folder.",
            reference("Folder"),
        ),
        ("DELETE", "/folders/{name}") => delete(),
        ("POST", "/folders/{name}/upload") => of_folder("uploadFolderFiles", "Puts files into a folder")
            .text(
                "The path of each file is its part's file name, and may hold directories. All files are there at \
                   the end, or none.",
            )
            .body_of("multipart/form-data", form(1000))
            .empty(StatusCode::CREATED, "The files are there.")
            .problems(&[Kind::QuotaExceeded]),
        ("POST", "/folders/{name}/mkdir") => of_folder("makeFolderDirectory", "Makes a directory in a folder")
            .body("DirectoryRequest", json!({"path": "data/2026"}))
            .empty(StatusCode::CREATED, "The directory is there, with those above it."),
        ("GET", "/folders/{name}/files") => of_folder("listFolderFiles", "What is in a directory of a folder")
            .query("path", "The directory; the folder's own where it is missing.", directory())
            .json(StatusCode::OK, "The directory.", listing()),
        ("GET", "/folders/{name}/download") => of_folder("downloadFolderFiles", "Files of a folder")
            .text(
                "Each part is in the gzip format (`Content-Encoding`), not compressed. `X-TOTAL-PAYLOADS-LENGTH` is the \
                   sum of the files' bytes before that.",
            )
            .required_query("files", "Paths of files.", several(inner_path(), 256))
            .answer(StatusCode::OK, "A part for each file.", archives()),
        ("DELETE", "/folders/{name}/delete_files") => of_folder("deleteFolderFiles", "Removes files from a folder")
            .body("FileRemoval", json!({"files": ["data/old.csv"], "recursive": false}))
            .json(StatusCode::OK, "They are gone.", object([])),
        ("POST", "/folders/{name}/invite") => of_folder("inviteToFolder", "Invites users into a folder")
            .body("FolderInvitationRequest", json!({"perm": "ro", "user_ids": ["2"]}))
            .json(StatusCode::CREATED, "Who was invited now.", object([("invited_ids", list(text("")))])),
        ("GET", "/folders/invitations/list") => {
            Operation::new("listInvitations", TAG, "The invitations that wait for the key's user").json(
                StatusCode::OK,
                "The invitations.",
                object([("invitations", list(reference("FolderInvitation")))]),
            )
        }
        ("POST", "/folders/invitations/accept") => Operation::new("acceptInvitation", TAG, "Accepts an invitation")
            .body("InvitationAcceptance", json!({"inv_id": INVITATION, "inv_ak": "AKIAIOSFODNN7EXAMPLE"}))
            .json(StatusCode::CREATED, "The key may use the folder.", object([("msg", text("What is now so, for people."))]))
            .problems(&[Kind::FolderNotFound, Kind::FolderAlreadyExists]),
        ("DELETE", "/folders/invitations/delete") => {
            Operation::new("deleteInvitation", TAG, "Refuses an invitation, or takes it back")
                .body("InvitationRefusal", json!({"inv_id": INVITATION}))
                .json(StatusCode::OK, "It is gone.", object([("msg", text("What is now so, for people."))]))
                .problems(&[Kind::FolderNotFound])
        }
        _ => return None,
    })
}

/// An id for examples.
const INVITATION: &str = "6a1f0c9e-31f5-4a51-b2a8-0c2a6c2f5d11";

/// The schemas of bodies and answers.
pub fn components() -> Vec<(&'static str, Value)> {
    let permission = || one_of(&["ro", "rw", "wd"], "Read; read and write; read, write and delete.");
    let id = || pattern("^[0-9a-f]{32}$", "Its id.");
    vec![
        ("FolderRequest", object([("name", folder_name()), ("host?", host())])),
        ("FolderCreated", object([("id", id()), ("name", folder_name())])),
        (
            "FolderEntry",
            object([("name", folder_name()), ("id", id()), ("is_owner", boolean("")), ("permission", permission())]),
        ),
        (
            "Folder",
            object([
                ("name", folder_name()),
                ("id", id()),
                ("numFiles", count("Files in the whole tree.")),
                ("created", nullable(text("When it was made."))),
                ("is_owner", boolean("")),
                ("permission", permission()),
            ]),
        ),
        ("DirectoryRequest", object([("path", inner_path())])),
        (
            "FileRemoval",
            object([("files?", nullable(list(inner_path()))), ("recursive?", nullable(boolean("Directories too.")))]),
        ),
        (
            "FolderInvitationRequest",
            object([
                ("perm?", nullable(permission())),
                (
                    "user_ids",
                    with(
                        list(json!({
                            "type": ["string", "integer"],
                            "pattern": "^[^\\u0000]*$",
                            "minimum": -9_007_199_254_740_991_i64,
                            "maximum": 9_007_199_254_740_991_i64,
                        })),
                        "description",
                        json!("Users' ids."),
                    ),
                ),
            ]),
        ),
        (
            "FolderInvitation",
            object([
                ("id", text("")),
                ("inviter", nullable(text("The user who invites."))),
                ("perm", permission()),
                ("state", text("")),
                ("created_at", text("")),
                ("vfolder_id", text("")),
            ]),
        ),
        (
            "InvitationAcceptance",
            object([
                ("inv_id", uuid()),
                (
                    "inv_ak?",
                    nullable(pattern(
                        "^[^\\u0000]*$",
                        "The key to let in: one of the user's; the caller's where it is missing.",
                    )),
                ),
            ]),
        ),
        ("InvitationRefusal", object([("inv_id", uuid())])),
    ]
}

fn create() -> Operation {
    let named = json!({"name": "$response.body#/name"});
    let mut create = Operation::new("createFolder", TAG, "Makes a folder")
        .body("FolderRequest", json!({"name": "my-data"}))
        .json(StatusCode::CREATED, "The folder.", reference("FolderCreated"))
        .problems(&[Kind::FolderAlreadyExists, Kind::InternalServerError]);
    for next in ["getFolder", "makeFolderDirectory", "uploadFolderFiles", "listFolderFiles", "deleteFolder"] {
        create = create.link(StatusCode::CREATED, next, named.clone());
    }
    create
}

fn delete() -> Operation {
    of_folder("deleteFolder", "Removes a folder with its files")
        .text("For its owner only.")
        .query("force", "`true`: also while a live session has it mounted.", text(""))
        .empty(StatusCode::NO_CONTENT, "It is gone.")
        .problems(&[Kind::FolderInUse])
}

fn of_folder(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, TAG, summary).path("name", folder_name()).problems(&[
        Kind::FolderNotFound,
        Kind::InvalidApiParams,
        Kind::InternalServerError,
    ])
}

fn folder_name() -> Value {
    let form = "^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$";
    pattern(form, "The folder's name, unique among those that the key owns or was let into.")
}

/// The volume that a new folder is wished on.
fn host() -> Value {
    let one = with(list(text("")), "maxItems", json!(1));
    let one = with(one, "description", json!("As release 18.12's command line writes it."));
    json!({"description": "The volume; there is a default.", "anyOf": [text(""), one, {"type": "null"}]})
}

fn listing() -> Value {
    object([("files", json_text("A JSON text: a list of `{mode, size, ctime, mtime, atime, filename}`."))])
}

/// A path of something in a folder: relative, of plain names.
fn inner_path() -> Value {
    pattern(
        "^(?!([^/]*/)*(\\.{0,2}|\\.backendai-[^/]*)(/|$))[^\\u0000]+$",
        "A relative path without `.`, `..` and empty parts; names that begin with `.backendai-` are reserved.",
    )
}

/// The path of a directory, or the folder itself.
fn directory() -> Value {
    json!({"anyOf": [inner_path(), {"enum": ["", "."]}]})
}

fn uuid() -> Value {
    with(text("The invitation."), "format", json!("uuid"))
}
