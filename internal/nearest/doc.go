// Package nearest finds the name that somebody probably meant.
//
// It promises to be deterministic: of equally near names the first one given wins. It looks at no name that is
// longer than MaxBytes, so what a stranger writes cannot make it work.
package nearest
