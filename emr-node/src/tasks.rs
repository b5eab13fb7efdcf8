//! The tasks that run as long as the node, and what happens if a bug ends one of them.

use std::{fmt, sync::Arc};

use tokio::{sync::watch, task::JoinHandle};

/// A task that runs as long as the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeTask {
    /// Follows L1.
    Follow,
    /// Seals, proves and settles batches.
    Settle,
    /// Removes what nothing needs: blocks, and links that are over. One task for each of the two.
    Sweep,
    /// Answers requests.
    Serve,
}

impl NodeTask {
    /// Whether the node keeps no promise without this task. Then it must stop.
    pub const fn is_vital(self) -> bool {
        match self {
            Self::Follow | Self::Settle | Self::Serve => true,
            Self::Sweep => false,
        }
    }
}

impl fmt::Display for NodeTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Follow => "follows L1",
            Self::Settle => "seals and settles batches",
            Self::Sweep => "removes blocks that nothing needs",
            Self::Serve => "answers requests",
        })
    }
}

/// A bug ended a task of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a bug ended the task that {0}: start the node again, and report what is in its log; nothing that was acknowledged is lost"
)]
pub struct TaskEnded(pub NodeTask);

/// Starts the node's tasks, and notes which of them ended.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    ended: watch::Sender<Vec<NodeTask>>,
}

/// Lives as long as its task. It notes the end, unless the node aborted the task or is stopping.
struct Running {
    tasks: Arc<Tasks>,
    task: NodeTask,
    returned: bool,
    stopped: watch::Receiver<bool>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() || self.returned && !*self.stopped.borrow() {
            tracing::error!("{}", TaskEnded(self.task));
            self.tasks.ended.send_modify(|ended| ended.push(self.task));
        }
    }
}

impl Tasks {
    /// Starts a task. Until `stopped` says that the node stops, `work` must not end.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        task: NodeTask,
        stopped: watch::Receiver<bool>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let running = Running { tasks: Arc::clone(self), task, returned: false, stopped };
        tokio::spawn(async move {
            // The task holds the whole value, so that its end drops it.
            let mut running = running;
            work.await;
            running.returned = true;
        })
    }

    /// The tasks that a bug ended.
    pub(crate) fn ended(&self) -> Vec<NodeTask> {
        self.ended.borrow().clone()
    }

    /// The first vital task that a bug ended, if there is one.
    pub(crate) fn vital_ended(&self) -> Option<TaskEnded> {
        self.ended.borrow().iter().copied().find(|task| task.is_vital()).map(TaskEnded)
    }

    /// Resolves when a bug has ended a vital task.
    pub(crate) async fn failed(self: Arc<Self>) -> TaskEnded {
        let mut ended = self.ended.subscribe();
        loop {
            if let Some(failed) = self.vital_ended() {
                return failed;
            }
            // This value holds the sender, so there is always another change to wait for.
            let _ = ended.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Starts a task and waits for its end.
    async fn ran(tasks: &Arc<Tasks>, task: NodeTask, stopped: bool, work: impl Future<Output = ()> + Send + 'static) {
        let (_stop, stopped) = watch::channel(stopped);
        let _ = tasks.spawn(task, stopped, work).await;
    }

    #[tokio::test]
    async fn a_panic_or_an_early_end_is_noted() {
        let tasks = Arc::new(Tasks::default());
        ran(&tasks, NodeTask::Sweep, false, async { panic!("a bug") }).await;
        assert_eq!((tasks.ended(), tasks.vital_ended()), (vec![NodeTask::Sweep], None));
        let failed = tokio::spawn(Arc::clone(&tasks).failed());
        ran(&tasks, NodeTask::Follow, false, async {}).await;
        assert_eq!(tasks.ended(), [NodeTask::Sweep, NodeTask::Follow]);
        let failed = tokio::time::timeout(Duration::from_secs(5), failed).await.expect("in time").expect("no panic");
        assert_eq!(failed, TaskEnded(NodeTask::Follow));
        assert!(failed.to_string().contains("follows L1: start the node again"), "{failed}");
    }

    #[tokio::test]
    async fn a_node_that_stops_notes_nothing() {
        let tasks = Arc::new(Tasks::default());
        ran(&tasks, NodeTask::Serve, true, async {}).await;
        let (_stop, stopped) = watch::channel(false);
        let aborted = tasks.spawn(NodeTask::Settle, stopped, std::future::pending());
        aborted.abort();
        assert!(aborted.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(tasks.ended(), []);
    }
}
