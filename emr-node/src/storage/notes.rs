//! Writes the notes of many uploads in one write. Each upload waits until its note is durable. So uploads share an
//! fsync.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as WriteLock, oneshot};

use crate::{
    engine::Engine,
    mempool::{Noted, Upload},
    request_error::RequestError,
};

type Answer = Result<Noted, RequestError>;

/// Uploads that wait for their notes.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    waiting: Mutex<Vec<(Upload, oneshot::Sender<Answer>)>>,
    writing: Arc<WriteLock<()>>,
}

impl Notes {
    fn waiting(&self) -> Vec<(Upload, oneshot::Sender<Answer>)> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes an upload, together with all other uploads that wait at that moment.
    ///
    /// # Errors
    /// [`RequestError`] if the disk fails or the node is stopping.
    pub(crate) async fn note(engine: &Arc<Engine>, upload: Upload) -> Answer {
        let stopping = || RequestError::unavailable("the node is stopping");
        let notes = &engine.notes;
        let (answer, mut answered) = oneshot::channel();
        notes.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((upload, answer));
        let writing = Arc::clone(&notes.writing).lock_owned().await;
        if let Ok(done) = answered.try_recv() {
            // Another request wrote this note together with its own.
            return done;
        }
        let handed = Arc::clone(engine);
        let written = tokio::task::spawn_blocking(move || {
            let _writing = writing;
            let (uploads, answers): (Vec<_>, Vec<_>) = handed.notes.waiting().into_iter().unzip();
            let noted = handed.mempool.note_uploads(&uploads).map_err(RequestError::from);
            for (position, answer) in answers.into_iter().enumerate() {
                let noted = noted.as_ref().map_err(RequestError::clone).and_then(|noted| {
                    noted.get(position).copied().ok_or_else(|| RequestError::unavailable("the upload was not noted"))
                });
                // If the request is gone, its block is not stored, and the note lapses.
                let _ = answer.send(noted);
            }
        });
        written.await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }
}
