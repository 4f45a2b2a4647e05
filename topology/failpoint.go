package topology

// Failpoints, in the order in which a task passes them. A Failpoint function
// that returns an error crashes the task there as kill -9 would: what was not
// yet committed is dropped, nothing is flushed. ErrCrash stops the whole worker.
//
// Names are part of the test contract. A name of an action stands before it
// (apply: the store is not written yet), its past tense after it (applied).
const (
	// Of a takeover.
	FailTakeover = "takeover" // before anything is done
	FailRestore  = "restore"  // ids are taken, the rest of the changelog not read
	FailRestored = "restored" // the store is at the end of the changelog

	// Of a cycle. Decode, load, advance and stage are hit by the Processor,
	// through Cycle.Failpoint.
	FailPoll    = "poll"    // records are taken off the queue
	FailRoute   = "route"   // before the first record is decoded and routed
	FailDecode  = "decode"  //
	FailLoad    = "load"    //
	FailAdvance = "advance" //
	FailStage   = "stage"   //
	FailBegin   = "begin"   // all is staged in memory; no transaction yet
	FailProduce = "produce" // the transaction has begun
	FailFlush   = "flush"   // all records are handed to the client
	FailEnd     = "end"     // all records are acknowledged; EndTxn not sent
	FailEnded   = "ended"   // EndTxn is acknowledged
	FailApply   = "apply"   // before the store is written
	FailApplied = "applied" // after the store is written

	// Of a standby.
	FailTail   = "tail"   // records of the changelog are fetched; the store is not written
	FailTailed = "tailed" // after the store is written
)

// Failpoints lists the names of an active task in order.
var Failpoints = []string{
	FailTakeover, FailRestore, FailRestored,
	FailPoll, FailRoute, FailDecode, FailLoad, FailAdvance, FailStage,
	FailBegin, FailProduce, FailFlush, FailEnd, FailEnded, FailApply, FailApplied,
}
