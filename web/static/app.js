// What the pages do beyond showing themselves: live updates with a pause, the keyboard, copying.
// Everything here is a convenience; the pages work without it.
(function () {
  "use strict";
  var root = document.documentElement;
  root.classList.add("js");

  function say(text) {
    document.getElementById("say").textContent = text;
  }

  // Live. A change asks htmx to fetch the page anew and to morph it in place. While the reader types,
  // has text selected, or paused, changes wait.
  var source = null, waiting = false, paused = false, timer = 0, last = 0;
  function busy() {
    var e = document.activeElement;
    if (e && e.closest && e.closest("#main form") && /^(INPUT|TEXTAREA|SELECT)$/.test(e.tagName)) return true;
    var s = window.getSelection();
    return !!s && !s.isCollapsed;
  }
  function refresh() {
    timer = 0;
    if (paused || document.hidden || busy()) { waiting = true; return; }
    waiting = false;
    last = Date.now();
    var app = document.getElementById("app");
    if (app && window.htmx) window.htmx.trigger(app, "amends:change");
  }
  function changed() {
    if (timer) return;
    timer = window.setTimeout(refresh, Math.max(120, 1000 - (Date.now() - last)));
  }
  function listen() {
    var topic = document.body.dataset.live;
    if (!topic || !window.EventSource) return;
    source = new EventSource("/live?topic=" + encodeURIComponent(topic));
    source.addEventListener("change", changed);
    source.addEventListener("open", function () { root.classList.remove("offline"); });
    source.addEventListener("error", function () { root.classList.add("offline"); });
  }
  function pause(on) {
    var b = document.getElementById("pause");
    if (!b) return;
    paused = on;
    b.setAttribute("aria-pressed", String(on));
    b.querySelector(".live-word").textContent = on ? "Paused" : "Live";
    say(on ? "Live updates are paused" : "Live updates go on");
    if (!on && waiting) changed();
  }
  document.addEventListener("visibilitychange", function () { if (!document.hidden && waiting) changed(); });
  document.addEventListener("focusout", function () { if (waiting && !paused) changed(); });
  window.addEventListener("pagehide", function () { if (source) source.close(); });

  // Relative times go on by themselves.
  function span(ms) {
    var s = Math.floor(ms / 1000), m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
    if (s < 10) return (ms / 1000).toFixed(1) + " s";
    if (m < 1) return s + " s";
    if (h < 1) return m + " min" + (s % 60 ? " " + s % 60 + " s" : "");
    if (d < 1) return h + " h" + (m % 60 ? " " + m % 60 + " min" : "");
    if (d < 100) return d + " d" + (h % 24 ? " " + h % 24 + " h" : "");
    return d + " d";
  }
  function tell() {
    if (paused) return;
    var now = Date.now();
    document.querySelectorAll("time[data-t] .rel").forEach(function (e) {
      var d = now - Number(e.parentNode.dataset.t);
      var text = d < 0 ? "in " + span(-d) : d < 1000 ? "now" : span(d) + " ago";
      if (e.textContent !== text) e.textContent = text;
    });
  }

  // Rows.
  function rows() { return Array.prototype.slice.call(document.querySelectorAll("[data-row]")); }
  function move(by) {
    var all = rows(), at = all.findIndex(function (r) { return r.classList.contains("on"); });
    if (!all.length) return;
    if (at >= 0) all[at].classList.remove("on");
    var to = Math.min(Math.max(at < 0 ? 0 : at + by, 0), all.length - 1), row = all[to];
    row.classList.add("on");
    var link = row.querySelector("a, summary");
    if (link) link.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }

  // The keyboard.
  var prefix = 0;
  document.addEventListener("keydown", function (e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    var t = e.target;
    if (t.closest && t.closest("input, textarea, select, dialog")) {
      if (e.key === "Escape" && t.blur) t.blur();
      return;
    }
    var open = document.getElementById("keys");
    if (prefix && Date.now() - prefix < 1500) {
      prefix = 0;
      var go = document.querySelector('[data-go="' + CSS.escape(e.key) + '"]');
      if (go) { e.preventDefault(); go.click(); }
      return;
    }
    switch (e.key) {
      case "/": (document.getElementById("query") || document.getElementById("jump")).focus(); break;
      case "j": move(1); break;
      case "k": move(-1); break;
      case "g": prefix = Date.now(); break;
      case "p": pause(!paused); break;
      case "z": document.getElementById("times").click(); break;
      case "y": copy(document.getElementById("twin")); break;
      case "?": open.showModal(); break;
      case "1": case "2": case "3": case "4": case "5": {
        var tab = document.querySelector('[data-tab="' + e.key + '"]');
        if (!tab) return;
        tab.click();
        break;
      }
      default: return;
    }
    e.preventDefault();
  });

  function copy(e) {
    if (!e) return;
    var text = e.dataset.copy || e.textContent;
    var done = function () {
      say("Copied");
      e.classList.add("copied");
      window.setTimeout(function () { e.classList.remove("copied"); }, 1200);
    };
    if (navigator.clipboard && window.isSecureContext) { navigator.clipboard.writeText(text).then(done, function () { say("Not copied"); }); return; }
    var area = document.createElement("textarea");
    area.value = text;
    area.className = "visually-hidden";
    document.body.appendChild(area);
    area.select();
    if (document.execCommand("copy")) done();
    area.remove();
  }
  document.addEventListener("click", function (e) {
    var t = e.target.closest ? e.target : null;
    if (!t) return;
    var c = t.closest("[data-copy]");
    if (c) { e.preventDefault(); copy(c); return; }
    if (t.closest("#pause")) pause(!paused);
    if (t.closest("#help")) document.getElementById("keys").showModal();
  });

  listen();
  window.setInterval(tell, 1000);
})();
