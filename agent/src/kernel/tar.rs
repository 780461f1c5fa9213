//! Archives in the ustar format of POSIX.1-2001, with its `path` records for names over 100 bytes.

const BLOCK: usize = 512;

/// An archive in the making.
#[derive(Debug, Default)]
pub struct Tar {
    bytes: Vec<u8>,
}

// === impl Tar ===

impl Tar {
    /// Appends a folder. `mtime` in seconds since 1970.
    pub fn folder(&mut self, name: &str, mode: u32, mtime: i64) {
        self.entry(&format!("{name}/"), b'5', mode, mtime, &[]);
    }

    /// Appends a regular file.
    pub fn file(&mut self, name: &str, mode: u32, mtime: i64, content: &[u8]) {
        self.entry(name, b'0', mode, mtime, content);
    }

    /// The length so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 2 * BLOCK]);
        self.bytes
    }

    fn entry(&mut self, name: &str, kind: u8, mode: u32, mtime: i64, content: &[u8]) {
        if name.len() > 100 {
            let record = path_record(name);
            self.block(b"long-name", b'x', 0o644, mtime, record.as_bytes());
        }
        self.block(name.as_bytes().get(..name.len().min(100)).unwrap_or_default(), kind, mode, mtime, content);
    }

    fn block(&mut self, name: &[u8], kind: u8, mode: u32, mtime: i64, content: &[u8]) {
        let mut header = Vec::with_capacity(BLOCK);
        field(&mut header, name, 100);
        field(&mut header, format!("{:07o}", mode & 0o777).as_bytes(), 8);
        field(&mut header, b"0000000", 8); // owner
        field(&mut header, b"0000000", 8); // group
        field(&mut header, format!("{:011o}", content.len()).as_bytes(), 12);
        field(&mut header, format!("{:011o}", mtime.clamp(0, 0o77_777_777_777)).as_bytes(), 12);
        let (before, mut after) = (header, vec![kind]);
        field(&mut after, b"", 100); // no link
        field(&mut after, b"ustar\x0000", 8);
        after.resize(BLOCK - before.len() - 8, 0);
        let sum: u32 = before.iter().chain(&after).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
        self.bytes.extend_from_slice(&before);
        self.bytes.extend_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend_from_slice(&after);
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
    }
}

fn field(header: &mut Vec<u8>, text: &[u8], width: usize) {
    let end = header.len() + width;
    header.extend_from_slice(text);
    header.resize(end, 0);
}

/// `<length> path=<name>\n`, where the length counts itself.
fn path_record(name: &str) -> String {
    let rest = format!(" path={name}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}
