(() => {
  // What can be used has a name; a text has the contrast of WCAG AA against what is behind it.
  const faults = [];
  const shown = e => { const r = e.getBoundingClientRect(), s = getComputedStyle(e); return r.width > 1 && r.height > 1 && s.visibility !== "hidden" && s.display !== "none"; };
  const name = e => {
    const by = e.getAttribute("aria-labelledby");
    if (by) return by.split(" ").map(id => (document.getElementById(id) || {}).textContent || "").join(" ").trim();
    if (e.getAttribute("aria-label")) return e.getAttribute("aria-label").trim();
    if (e.labels && e.labels.length) return Array.from(e.labels, l => l.textContent).join(" ").trim();
    return (e.textContent || e.getAttribute("title") || "").trim();
  };
  for (const e of document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [role=img], [tabindex='0']")) {
    if (shown(e) && !name(e)) faults.push("no name: " + e.outerHTML.slice(0, 120));
  }
  const ids = {};
  for (const e of document.querySelectorAll("[id]")) {
    if (ids[e.id]) faults.push("id twice: " + e.id);
    ids[e.id] = true;
  }
  for (const e of document.querySelectorAll("table")) {
    if (!e.querySelector("th[scope]")) faults.push("table without headers");
  }
  if (document.querySelectorAll("h1").length !== 1) faults.push("not one first heading");
  if (!document.documentElement.lang) faults.push("no language");

  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const colour = text => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = "#000";
    pen.fillStyle = text;
    pen.fillRect(0, 0, 1, 1);
    const d = pen.getImageData(0, 0, 1, 1).data;
    return [d[0], d[1], d[2], d[3] / 255];
  };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const light = c => { const f = c.slice(0, 3).map(v => { v /= 255; return v <= 0.03928 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4); }); return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
  const ground = e => {
    const stack = [];
    for (let n = e; n && n.nodeType === 1; n = n.parentElement) stack.push(colour(getComputedStyle(n).backgroundColor));
    return stack.reverse().reduce((under, c) => over(c, under), colour(getComputedStyle(document.documentElement).backgroundColor));
  };
  const opacity = e => { let o = 1; for (let n = e; n && n.nodeType === 1; n = n.parentElement) o *= Number(getComputedStyle(n).opacity); return o; };
  const seen = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !shown(e) || e.closest("svg, .visually-hidden, :disabled, script, style, option") || seen.has(e)) continue;
    seen.add(e);
    const style = getComputedStyle(e), back = ground(e);
    const ink = colour(style.color);
    ink[3] *= opacity(e);
    const a = light(over(ink, back)), b = light(back);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && Number(style.fontWeight) >= 700;
    if (ratio < (large ? 3 : 4.5)) faults.push("contrast " + ratio.toFixed(2) + ": " + JSON.stringify(walk.currentNode.textContent.trim().slice(0, 40)) + " in " + e.className);
  }
  return faults.slice(0, 20);
})()
