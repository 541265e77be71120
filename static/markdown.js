// Streamed Markdown: text that grows -> DOM nodes in a container.
//
// Only the tail is parsed again when text arrives: all top-level blocks but the last two are committed, because later
// text can still change those two (a paragraph becomes a heading, a list goes on). One full parse at the end settles
// what looks ahead further: link references and loose lists.
//
// Model output is untrusted. Three fences, each enough alone: raw HTML is shown as text, DOMPurify keeps a short list of
// tags and http(s) or mailto links only, and the page's content security policy loads nothing from elsewhere.
import { Marked } from "./vendor/marked.mjs";
import DOMPurify from "./vendor/purify.mjs";

const MUTABLE_BLOCKS = 2;
const HARMLESS_TAG = /^<\/?(?:br|sub|sup|kbd|b|i|em|strong|mark|u|s)\s*\/?>$/i;

const SANITIZE = {
  ALLOWED_TAGS: [
    "a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "kbd", "li",
    "mark", "ol", "p", "pre", "s", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "u", "ul",
  ],
  ALLOWED_ATTR: ["align", "class", "href", "start"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

function escape_html(text) {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

const parser = new Marked({
  gfm: true,
  renderer: {
    html({ text }) {
      return HARMLESS_TAG.test(text.trim()) ? text : escape_html(text);
    },
    image({ href, text }) {
      return `<a href="${escape_html(href)}">${escape_html(text || href)}</a>`;
    },
    checkbox({ checked }) {
      return checked ? "☑ " : "☐ ";
    },
  },
});

function decorate_link(link) {
  if (!link.hasAttribute("href")) {
    link.replaceWith(...link.childNodes);
    return;
  }
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
}

// A code block gets a caption with its language and a copy button; a table gets a box that scrolls sideways.
function decorate_code(pre) {
  const code = pre.querySelector("code");
  const language = /^language-([\w+#.-]{1,24})$/.exec(code?.className ?? "")?.[1] ?? "text";
  const caption = document.createElement("div");
  caption.className = "code-caption";
  const label = document.createElement("span");
  label.textContent = language;
  const copy = document.createElement("button");
  copy.type = "button";
  copy.className = "quiet copy-code";
  copy.textContent = "Copy";
  caption.append(label, copy);
  const box = document.createElement("div");
  box.className = "code-block";
  pre.tabIndex = 0;
  pre.replaceWith(box);
  box.append(caption, pre);
}

function decorate_table(table) {
  const box = document.createElement("div");
  box.className = "table-box";
  box.tabIndex = 0;
  table.replaceWith(box);
  box.append(table);
}

function tokens_to_fragment(tokens) {
  const fragment = DOMPurify.sanitize(parser.parser(tokens), SANITIZE);
  for (const link of fragment.querySelectorAll("a")) decorate_link(link);
  for (const pre of fragment.querySelectorAll("pre")) decorate_code(pre);
  for (const table of fragment.querySelectorAll("table")) decorate_table(table);
  for (const e of fragment.querySelectorAll("[class]")) {
    if (e.matches("code, p, li, span, a")) e.removeAttribute("class");
  }
  return fragment;
}

const normalise = (text) => text.replace(/\r\n?/g, "\n");

// Whole text -> fragment.
export function markdown_render(text) {
  return tokens_to_fragment(parser.lexer(normalise(text)));
}

export class MarkdownStream {
  constructor(container) {
    this.container = container;
    this.committed = 0; // characters of the text whose nodes are final
    this.tail = []; // nodes made of the rest
  }

  // text: everything so far; it only ever grows.
  update(text) {
    const tokens = parser.lexer(normalise(text).slice(this.committed));
    const links = tokens.links;
    let n_final = 0;
    for (let i = tokens.length - 1, n_blocks = 0; i >= 0; i--) {
      if (tokens[i].type !== "space" && ++n_blocks > MUTABLE_BLOCKS) {
        n_final = i + 1;
        break;
      }
    }
    const final = tokens.slice(0, n_final);
    const rest = tokens.slice(n_final);
    final.links = rest.links = links;

    for (const node of this.tail) node.remove();
    if (final.length > 0) {
      this.container.append(tokens_to_fragment(final));
      this.committed += final.reduce((n, token) => n + token.raw.length, 0);
    }
    const fragment = tokens_to_fragment(rest);
    this.tail = [...fragment.childNodes];
    this.container.append(fragment);
  }

  finish(text) {
    this.container.replaceChildren(markdown_render(text));
    this.tail = [];
    this.committed = normalise(text).length;
  }
}
