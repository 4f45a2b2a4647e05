package topology

// Crash ends the worker as kill -9 would end its process: tasks stop between two steps, nothing is handed over
// and the group is not told. It is what a failpoint does with ErrCrash, for whoever cannot wait until a task
// comes to one. For tests and demonstrations.
func (w *Worker) Crash() { w.fail(ErrCrash) }
