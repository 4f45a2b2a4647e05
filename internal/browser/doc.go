// Package browser is Chromium for tests of the web page: it opens pages, presses keys, waits for what is
// seen, and notes what a page may not do: complaints of the console, requests to elsewhere, controls without a
// name, texts without contrast.
//
// The tests run with AMENDS_BROWSER=must (make browser-test); otherwise they are skipped and say so.
package browser
