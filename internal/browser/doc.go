// Package browser is Chromium for tests of the web page: it opens pages, presses keys, waits for what is
// seen, and notes what a page may not do: complaints of the console, requests to elsewhere, controls without a
// name, texts without contrast.
//
// Without Chromium a test is skipped and says so; with AMENDS_BROWSER=must it fails.
package browser
