//! What the server has asked and is not answered yet, in the order in which it is done.
//!
//! That more is wanted of a read is no task of its own: it concerns the task that reads, and nothing once
//! that has ended, when the server knows from its last part. Runs in the worker.

use std::collections::VecDeque;

use event_source_door::message::ToWorker;

use super::answer::Task;

#[derive(Debug, Default)]
pub struct Requests(VecDeque<Task>);

impl Requests {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is to be done next.
    pub fn take(&mut self) -> Option<Task> {
        self.0.pop_front()
    }
}

impl Extend<Task> for Requests {
    fn extend<T: IntoIterator<Item = Task>>(&mut self, tasks: T) {
        for task in tasks {
            let Task::Asked(ToWorker::More { request, limit }) = task else {
                self.0.push_back(task);
                continue;
            };
            for task in &mut self.0 {
                match task {
                    Task::Batch(left) if left.request == request => {
                        left.limits = left.limits.and_of_batch(limit);
                    }
                    Task::Asked(ToWorker::Read { request: read, limit: all, .. })
                        if *read == request =>
                    {
                        *all = all.saturating_add(limit);
                    }
                    _ => {}
                }
            }
        }
    }
}
