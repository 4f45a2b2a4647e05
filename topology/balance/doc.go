// Package balance decides which member of a group runs which task, and which
// members keep copies of a task's state. Plan is a pure function: the same
// members in any order give the same plan, on any machine.
//
// It promises, and the properties in its tests hold it to:
//
//  1. Every task is active on exactly one member.
//  2. A member never keeps a copy of a task that is active on it, nor two.
//  3. A task leaves a living owner only when that owner is draining, has at
//     least two tasks more than the receiver, or is itself far behind. It goes
//     only to a member within the acceptable lag; one that is not gets the task
//     as a warm-up first, and the owner goes on meanwhile.
//  4. At most Input.WarmUps warm-ups exist at a time.
//  5. Once members stop coming and going and copies catch up, the plan comes to
//     rest: the members that do not drain have the same number of tasks, give or
//     take one, and no task moves any more.
//
// The package knows nothing of Kafka: who is leader, how members tell what they
// have and how tasks are revoked first belongs to package topology.
package balance
