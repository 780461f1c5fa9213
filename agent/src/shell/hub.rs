//! What a terminal shows, given to whoever watches at that time. Nobody waits for a viewer: one that
//! does not keep up misses pieces, as with any publisher of ZeroMQ.

use std::cell::RefCell;

use bytes::Bytes;
use tokio::sync::mpsc;

/// Most viewers of a terminal.
const VIEWERS: usize = 32;
/// Pieces that wait for one viewer, 2 MiB at most; later ones it misses.
const QUEUE: usize = 256;

/// All viewers.
#[derive(Debug, Default)]
pub struct Hub {
    viewers: RefCell<Vec<mpsc::Sender<Bytes>>>,
}

// === impl Hub ===

impl Hub {
    /// A new viewer, who gets what comes from now on; none if there are too many.
    pub fn join(&self) -> Option<mpsc::Receiver<Bytes>> {
        let mut viewers = self.viewers.borrow_mut();
        viewers.retain(|viewer| !viewer.is_closed());
        if viewers.len() >= VIEWERS {
            return None;
        }
        let (viewer, queue) = mpsc::channel(QUEUE);
        viewers.push(viewer);
        Some(queue)
    }

    /// Gives this to all viewers who have room for it.
    pub fn publish(&self, piece: &Bytes) {
        for viewer in self.viewers.borrow().iter() {
            let _ = viewer.try_send(piece.clone()); // it is slow, or has gone
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_viewer_misses_pieces_and_nobody_else_does() {
        let hub = Hub::default();
        hub.publish(&Bytes::from_static(b"before"));
        let (mut slow, mut quick) = (hub.join().unwrap(), hub.join().unwrap());
        for number in 0..1000_u32 {
            let piece = Bytes::copy_from_slice(&number.to_be_bytes());
            hub.publish(&piece);
            assert_eq!(quick.try_recv(), Ok(piece));
        }
        let seen = std::iter::from_fn(|| slow.try_recv().ok()).count();
        assert_eq!(seen, QUEUE);
        hub.publish(&Bytes::from_static(b"after"));
        assert_eq!(slow.try_recv(), Ok(Bytes::from_static(b"after")));
    }

    #[test]
    fn viewers_are_bounded_and_make_room_when_they_go() {
        let hub = Hub::default();
        let viewers: Vec<_> = std::iter::from_fn(|| hub.join()).collect();
        assert_eq!(viewers.len(), VIEWERS);
        drop(viewers);
        hub.join().unwrap();
    }
}
