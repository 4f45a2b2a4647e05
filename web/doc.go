// Package web is the page that people operate sagas with: Overview, Instances, Instance, Definitions,
// Attention, Tasks, Dead letters, Batches, Cluster and Audit, as HTML from the server.
//
//	pages := web.New(source, web.Options{Namespace: "pay", Environment: "production"})
//	mux.Handle("/", pages)
//
// Promises:
//
//   - A page is a pure function of what the Source answered, the clock and the reader's preferences.
//     The golden files in testdata are exactly that.
//   - Reading works without JavaScript. With it a page is live: it hears of changes by server-sent
//     events and fetches itself anew; a pause is always in sight.
//   - Nothing is fetched from elsewhere: fonts, scripts and styles are in the binary, and the content
//     policy refuses anything else, inline scripts and styles included.
//   - Every state is said in words and with a shape; colour comes on top.
//   - Whatever changes something shows first what would be published, and asks why. A form carries the
//     revision that its reader saw and an id, so that sending it twice changes nothing twice.
//   - What the reader's role may not do is shown as such, and refused by the Source.
//
// The package knows sagas and diagrams, and no Kafka: everything comes through Source.
package web
