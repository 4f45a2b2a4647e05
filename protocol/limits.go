package protocol

// Limits of everything that comes from outside. They are enforced before allocation.
const (
	MaxRecordBytes     = 1 << 20         // value of one record
	MaxHeaderBytes     = 32 << 10        // all header keys and values of one record together
	MaxHeaders         = 128             // headers of one record
	MaxDepth           = 64              // nesting of JSON
	MaxWorkflowID      = 512             // bytes of <type>/<id>
	MaxType            = 128             // bytes of a saga type
	MaxID              = 256             // bytes of the id part of a workflow ID
	MaxPath            = 512             // bytes of a step path
	MaxName            = 128             // bytes of a command, participant, operator or actor name
	MaxCode            = 128             // bytes of a reply's code
	MaxMessage         = 1 << 10         // bytes of a human-readable message; longer ones are cut
	MaxReason          = 1 << 10         // bytes of an operator's or a canceller's reason
	MaxToken           = 2 << 10         // characters of an encoded token
	MaxTags            = 32              // tags of one start
	MaxTagBytes        = 256             // bytes of one tag's name, and of its value
	MaxArgs            = 32              // arguments of one admin record
	MaxSignalName      = MaxPath + 16    // bytes of a signal's name
	MaxSignalBytes     = 64 << 10        // bytes of a signal's payload, and of the output that an operator gives a step
	MaxSignalTTL       = 30 * day        // ms that a signal may wait
	MaxTopic           = 249             // bytes of a topic name: Kafka's own limit
	MaxNamespace       = 100             // bytes of a namespace
	MaxAvroBlockCount  = 1 << 16         // items of one Avro array or map block
	MaxAvroBlockBytes  = 1 << 20         // bytes of one Avro block
	MaxTime            = 253402300799999 // last millisecond of the year 9999
	maxCutInErrorBytes = 64              // of a name that an error repeats
)
