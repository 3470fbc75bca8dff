// Shows a report that the page around it sends. This frame has an origin of its own: it can neither call the service nor
// see the page. The styles of the report are taken over by script, so that the policy needs no `unsafe-inline`, and
// anything that could run is left out.

addEventListener("message", ({ source, data }) => {
  if (source === parent && typeof data === "string") show(data);
});
parent.postMessage("ready", "*");

function show(text) {
  const sheets = [];
  const keep = (_, style) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(style);
    sheets.push(sheet);
    return "";
  };
  // Renamed before it is parsed, since the policy already applies to the parser.
  const unstyled = text.replace(/<style[^>]*>([\s\S]*?)<\/style>/gi, keep).replace(/\sstyle=(?=["'])/gi, " data-style=");
  const found = new DOMParser().parseFromString(unstyled, "text/html");
  for (const part of found.querySelectorAll("script, link, meta, base, iframe, object, embed, form")) part.remove();
  for (const link of found.querySelectorAll("a[href]")) if (!link.getAttribute("href").startsWith("#")) link.removeAttribute("href");
  document.adoptedStyleSheets = sheets;
  document.body.replaceWith(document.adoptNode(found.body));
  for (const part of document.querySelectorAll("[data-style]")) part.style.cssText = part.dataset.style;
}
