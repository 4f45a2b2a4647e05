package asyncapi

import (
	"github.com/amendsio/amends/protocol"
)

const workflowKey = "workflow ID, <type>/<id>"

// common describes the topics that every namespace has.
func (w *writer) common() {
	w.schemas["commandHeaders"] = record(
		[]string{protocol.HeaderToken, protocol.HeaderWorkflowID, protocol.HeaderOp, protocol.HeaderCommand, protocol.HeaderKey, protocol.HeaderAttempt,
			protocol.HeaderReplyTo, protocol.HeaderReplyPartition},
		object{
			protocol.HeaderToken:          text("opaque; the reply echoes it unchanged"),
			protocol.HeaderWorkflowID:     text(workflowKey + "; the key of the reply"),
			protocol.HeaderOp:             oneOf("what is asked for", "do", "undo", "inquire"),
			protocol.HeaderCommand:        text("name of the command"),
			protocol.HeaderKey:            text("idempotency key of this operation: the same for every attempt"),
			protocol.HeaderIdempotencyKey: text("the same value, under the name that HTTP bridges know"),
			protocol.HeaderForwardKey:     text("undo and inquire: the saga-key of the do"),
			protocol.HeaderAttempt:        number("from 1"),
			protocol.HeaderDeadline:       number("ms since the epoch; never on undo"),
			protocol.HeaderReplyTo:        text("topic of the reply"),
			protocol.HeaderReplyPartition: number("partition of the reply; set it, do not hash the key"),
			protocol.HeaderDefinition:     text("type@version of the definition"),
			protocol.HeaderTraceparent:    text("W3C trace context; pass it on"),
			protocol.HeaderContentType:    text("of the value"),
		})
	w.schemas["replyHeaders"] = record([]string{protocol.HeaderToken, protocol.HeaderOutcome}, object{
		protocol.HeaderToken: text("as it came with the command"),
		protocol.HeaderOutcome: oneOf("what came of it", string(protocol.OutcomeOK), string(protocol.OutcomeRejected), string(protocol.OutcomeFailedRetriable),
			string(protocol.OutcomeFailedFatal), string(protocol.OutcomeProgress), string(protocol.OutcomeExecuted), string(protocol.OutcomeNotExecuted), string(protocol.OutcomeRunning)),
		protocol.HeaderEffect:      oneOf("what remains at the participant; state it only if it is known", "none", "done", "unknown"),
		protocol.HeaderCode:        text("reason for machines, at most 128 bytes"),
		protocol.HeaderMessage:     text("reason for people"),
		protocol.HeaderRetryAfter:  number("ms to wait before the next attempt"),
		protocol.HeaderNoop:        oneOf("the undo found nothing to undo", "true", "false"),
		protocol.HeaderReplayed:    oneOf("the stored answer of an earlier delivery", "true", "false"),
		protocol.HeaderTraceparent: text("W3C trace context"),
		protocol.HeaderContentType: text("of the value"),
	})
	w.schemas["cloudEventHeaders"] = record([]string{protocol.HeaderCloudEventID, protocol.HeaderCloudEventSource, protocol.HeaderCloudEventType, protocol.HeaderCloudEventSpecVersion}, object{
		protocol.HeaderCloudEventSpecVersion: object{"const": "1.0"},
		protocol.HeaderCloudEventID:          text("the same event has the same id"),
		protocol.HeaderCloudEventSource:      text("workflow ID, percent-encoded"),
		protocol.HeaderCloudEventType:        text("kind of the event"),
		protocol.HeaderCloudEventTime:        object{"type": "string", "format": "date-time"},
		protocol.HeaderWorkflowID:            text(workflowKey),
		protocol.HeaderContentType:           text("of the value"),
	})

	intake := w.channel(w.topics.Intake, "starts, signals and cancels; any key and any partitioner will do")
	w.message(intake, "receiveIntake", "receive", "Sagas are started, signalled and cancelled.", "cloudEvent", object{
		"title": "CloudEvent", "summary": "Any other message of this channel, in the structured mode of CloudEvents 1.0. Its id is that of the start or signal.",
		"contentType": protocol.ContentCloudEvents,
		"payload": record([]string{"specversion", "id", "source", "type"}, object{
			"specversion": object{"type": "string", "pattern": `^1\.`}, "id": text("the same event has the same id"), "source": text("URI reference"), "type": text("any"),
			"datacontenttype": text("of the data; default application/json"), "data": object{"description": "a start, a signal or a cancel"},
			"data_base64": object{"type": "string", "contentEncoding": "base64"}, "traceparent": text("W3C trace context"),
		}),
	})
	w.message(intake, "receiveIntake", "receive", "", "cancel", object{
		"title": "Cancel", "summary": "Compensate an instance, or forbid one that has not started.",
		"bindings": kafkaKey(workflowKey + ", or anything"),
		"payload": record([]string{"kind", "type"}, object{
			"kind": object{"const": "cancel"}, "type": text("name of the definition"), "id": text("id part of the workflow ID; absent: the record key"),
			"requestId": text("names this request"), "reason": text(""), "actor": text(""), "voidTtlMs": object{"type": "integer", "minimum": 0},
		}),
	})
	replies := w.channel(w.topics.Replies, "answers of participants; they write to the partition that the command names")
	w.message(replies, "receiveReplies", "receive", "Participants answer.", "reply", object{
		"title": "Reply", "summary": "The answer to one command. The value is the output, a JSON object, or empty.",
		"headers": ref("components", "schemas", "replyHeaders"), "bindings": kafkaKey("saga-wid of the command"),
		"payload": object{"type": "object"},
	})
	control := w.channel(w.topics.Control, "operator actions; for operators and the orchestrator only")
	w.message(control, "receiveControl", "receive", "Operators act on instances.", "admin", object{
		"title": "Admin", "bindings": kafkaKey(workflowKey),
		"payload": record([]string{"kind", "type", "id", "action", "operator", "reason"}, object{
			"kind": object{"const": "admin"}, "type": text("name of the definition"), "id": text("id part of the workflow ID"), "action": text("see docs/protocol.md"),
			"path": text("step, for actions on one"), "operator": text(""), "reason": text(""), "requestId": text("the same request twice acts once"),
			"expectRev": object{"type": "integer", "minimum": 0}, "args": object{"type": "object"},
		}),
	})
	lifecycle := w.channel(w.topics.Lifecycle, "facts about instances, gapless per workflow ID")
	w.message(lifecycle, "sendLifecycle", "send", "Facts are told.", "lifecycle", object{
		"title": "Lifecycle", "summary": "Avro in the single-object encoding. Read it with read_committed.",
		"contentType": protocol.ContentAvro, "bindings": kafkaKey(workflowKey),
		"headers": record([]string{protocol.HeaderKind, protocol.HeaderSeq}, object{
			protocol.HeaderKind: text("kind of the fact"), protocol.HeaderSeq: number("gapless per workflow ID"),
			protocol.HeaderCloudEventSpecVersion: object{"const": "1.0", "description": "this and the other ce_ headers: with amends run --cloudevents"},
			protocol.HeaderCloudEventID:          text("unique for its source"),
			protocol.HeaderCloudEventSource:      text("workflow ID, percent-encoded"),
			protocol.HeaderCloudEventType:        text(protocol.LifecycleTypePrefix + "<kind>"),
			protocol.HeaderCloudEventTime:        object{"type": "string", "format": "date-time"},
			protocol.HeaderCloudEventSubject:     text("path of the step, percent-encoded"),
			protocol.HeaderCloudEventDataSchema:  text("urn:avro:amends.v1.Lifecycle:<fingerprint>"),
		}),
		"payload": avro(protocol.Schema(protocol.SchemaLifecycle)),
	})
	dead := w.channel(w.topics.DLQ, "records that were set aside, byte for byte, with the reason in headers")
	w.message(dead, "sendDeadLetters", "send", "What cannot be handled is set aside.", "deadLetter", object{
		"title": "Dead letter", "summary": "Key, value and headers of the original, and headers __saga.errors.*.", "payload": object{},
	})
}
