// Package kafkatest gives tests a Kafka cluster.
//
// There are three ways to get one, and a test picks by what it has to prove:
//
//   - [Bubble]: an in-process cluster on a virtual network inside a
//     testing/synctest bubble. Time is virtual, so a week of waiting takes
//     seconds and no test has to guess a timeout. Needs the build tag
//     synctests (make test passes it); without it the test is skipped with
//     that reason, because a kgo mutex would stop the virtual clock.
//   - [New]: an in-process cluster on loopback, or the real one when
//     KAFKA_SEEDS is set. A test written with New runs on both.
//   - [Real]: only the real cluster; skipped with a visible reason when
//     KAFKA_SEEDS is unset. For what the in-process cluster cannot show:
//     marker lag, CONCURRENT_TRANSACTIONS, session expiry by a real clock.
//
// What holds for all three:
//
//   - Every cluster value has a namespace of its own ([Cluster.Namespace]).
//     On the real cluster it is random, and all topics and groups whose name
//     carries it, and all topics made with [Cluster.CreateTopic], are deleted
//     when the test ends. Names that are shared by nature (the command topic
//     of a participant) are made unique with [Cluster.Name].
//   - Reading is read_committed unless the function's name says otherwise.
//   - The in-process cluster never compacts by itself: its cleaner ignores
//     open transactions. A test that wants compaction calls Kfake().Compact()
//     while no transaction is open.
//
// The package is for tests only; internal/tidy keeps it so.
package kafkatest
