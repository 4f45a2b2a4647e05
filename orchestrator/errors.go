package orchestrator

import (
	"errors"
	"fmt"
)

// Classes of error, by who must act. Ask with errors.Is.
var (
	// ErrConfig is a fault that an operator has to repair: a wrong value, a topic with wrong
	// settings. A restart does not help.
	ErrConfig = errors.New("configuration")
	// ErrUnreachable says that Kafka did not answer. Try again.
	ErrUnreachable = errors.New("unreachable")
	// ErrMoving says that the partition of the instance is changing hands. Try again soon.
	ErrMoving = errors.New("partition is moving")
	// ErrNotFound says that there is no such instance or definition.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that the request clashes with what is stored.
	ErrConflict = errors.New("conflict")
	// ErrInvalid says that the request itself is wrong.
	ErrInvalid = errors.New("invalid request")
)

// Codes of the errors that users meet. Codes below SG100 belong to the checks of definitions.
const (
	CodeConfig         = "SG101" // a configuration value is wrong
	CodeTopicMissing   = "SG102" // a topic is missing and may not be created
	CodeTopicSetting   = "SG103" // a topic has a wrong setting
	CodePartitions     = "SG104" // partition counts disagree
	CodeUnreachable    = "SG105" // Kafka did not answer
	CodeBrokers        = "SG106" // the brokers are too old for exactly once
	CodeVersionChanged = "SG33"  // this version was published with other content
	CodeNotFound       = "SG201" // no such instance
	CodeMoving         = "SG202" // the partition is changing hands
	CodeBadRequest     = "SG203" // the request is wrong
	CodeElsewhere      = "SG204" // another process owns the instance
	CodeInternal       = "SG205" // a fault of ours
	CodeNoDefinition   = "SG206" // no such definition
	CodeConflict       = "SG207" // the request clashes with what is stored
	CodeForbidden      = "SG209" // this process takes no actions over HTTP
	CodeUnknownPerson  = "SG210" // the request has no token that is known
	CodeKeyReused      = "SG211" // the Idempotency-Key was used for another request
	CodeLevel          = "SG208" // the feature level of the namespace does not allow it
)

// Error is a user-facing error: a stable code, one sentence of cause and what to do about it.
type Error struct {
	Code  string
	Cause string
	Fix   string // may be empty
	Class error  // one of the classes above
	Err   error  // what lies beneath; may be nil
}

func (e *Error) Error() string {
	s := e.Code + " " + e.Cause
	if e.Err != nil {
		s = fmt.Sprintf("%s: %v", s, e.Err)
	}
	if e.Fix != "" {
		s += ". " + e.Fix
	}
	return s
}

// Unwrap gives the class and the error beneath.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Class}
	}
	return []error{e.Class, e.Err}
}

// MovedError says which process owns the instance that was asked for.
type MovedError struct {
	Address string // host:port of the owner's API
}

func (e *MovedError) Error() string {
	return CodeElsewhere + " the instance is owned by " + e.Address
}
