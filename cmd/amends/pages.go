package main

import (
	"net"
	"net/http"

	"github.com/spf13/pflag"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/web"
	"github.com/amendsio/amends/web/desk"
)

// pageFlags are the settings of the web pages.
func pageFlags(f *pflag.FlagSet) {
	f.String("environment", "", "name of the environment, on the banner of the web page")
	f.String("environment-colour", "", "of the banner: red, amber, green, blue or violet (default grey)")
	f.Bool("pages-read-only", false, "the web page shows everything and changes nothing")
}

func pageSettings(s settings) web.Options {
	return web.Options{Namespace: s.text("namespace"), Environment: s.text("environment"), Colour: s.text("environment-colour"), ReadOnly: s.yes("pages-read-only")}
}

// withPages serves the web page beside the API.
func withPages(api http.Handler, o *orchestrator.Orchestrator, at listener, addr net.Addr) http.Handler {
	at.pages.Node, at.pages.Version = o.Advertise(), orchestrator.Version
	return desk.Beside(api, desk.Options{Actions: at.acts(addr), Login: at.auth != nil, Partition: o.TaskOf, Draining: o.Draining}, at.pages)
}
