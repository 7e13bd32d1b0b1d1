"use strict";

/* The search of helpers/symptoms, with the same rules; its data comes from Python: see publish/blocks.py. */

const COLORS = /\x1b\[[0-9;?]*[ -/]*[@-~]/g;
const LOG = /^(?:\[[^\]]{1,60}\]:?|\d{4}-\d\d-\d\d[T ]?|\d\d:\d\d:\d\d[\d.,]*Z?|(?:error|info|warning|critical|debug|fatal)\b[:\s|-]|[\w./-]+\.py:\d+[:\s-]|[|>-])\s*/i;
const TRACEBACK = "Traceback (most recent call last)";
const CHAINED = /^(?:During handling of the above exception|The above exception was the direct cause)/;
const FRAME = /^\s*(?:File .*, line \d+|File .*:\d+,? in |Cell In\s*\[|Input In\s*\[|<ipython-input|-+> ?\d+ |~?\^+)/;
const OUTSIDE = /^\s*File (?!.*\btorch[/\\])/;
const INSIDE = /\btorch[/\\](?:_weights_only_)?(optim|serialization|unpickler|jit|amp)\b/;
const IMPORTING = /^\s*(?:from \S+ )?import \w/;
const HEAD = /^(?:[A-Za-z_]\w*\.)*(?:[A-Z]\w*)?(?:Error|Exception|Warning|Interrupt|Exit|StopIteration|BadZipFile|Failure)(?::\s|:?\s*$)/;

function readError(text) {
  const errors = [];
  const places = [];
  let place = "";
  let inside = false;
  let marked = false;
  let code = "";
  let loading = false;
  for (const raw of text.replace(COLORS, "").replaceAll("\r", "").split("\n")) {
    const line = unlogged(raw);
    if (line.includes(TRACEBACK) || CHAINED.test(line.trim()) || FRAME.test(line)) {
      inside = false;
      loading = line.includes("serialization") || (loading && !line.includes(TRACEBACK));
      const found = INSIDE.exec(line);
      if (found || OUTSIDE.test(line)) place = found ? found[1] : "";
    } else if (HEAD.test(line)) {
      errors.push([line.includes("No module named") && IMPORTING.test(code) && !loading ? "" : line]);
      places.push(place);
      place = "";
      code = "";
      inside = true;
      marked = line !== raw;
    } else if (inside && line.trim() && (line !== raw) === marked) {
      errors.at(-1).push(line);
    } else {
      code = line;
    }
  }
  if (!errors.length) return null;
  const backwards = [...errors].reverse();
  return {
    last: plain(backwards[0][0]),
    inside: places.at(-1),
    causes: backwards.slice(1).map((error) => plain(error[0])),
    further: backwards.flatMap((error) => error.slice(1).map(plain)),
  };
}

function unlogged(line) {
  let shorter = line.replace(LOG, "");
  while (shorter !== line && !HEAD.test(line)) {
    line = shorter;
    shorter = shorter.replace(LOG, "");
  }
  return line;
}

function plain(words) {
  const straight = words.toLowerCase().replace(/[\u2018\u2019`]/g, "'").replace(/[\u201c\u201d]/g, '"');
  return straight.split(/\s+/).filter(Boolean).join(" ");
}

function unwrapped(words) {
  const lists = [...words.matchAll(/(?:missing|unexpected) key\(s\) in state_dict: "(module\.)?/g)];
  const both = lists.length > 1 || /state_dict for (?:distributed)?dataparallel:/.test(words);
  return lists.length && lists.every((list) => list[1]) && both ? words.replaceAll('"module.', '"') : words;
}

class Words {
  constructor(data) {
    this.silent = new Set(data.silent);
    this.endings = data.endings;
    this.same = new Map(Object.entries(data.same));
    this.phrases = data.phrases;
    this.subject = data.subject;
    this.vague = data.vague;
    this.weights = new Map(Object.entries(data.weights));
    this.counts = new Map(Object.entries(data.counts));
    this.spelt = Object.entries(data.spelt);
  }

  stem(word) {
    for (const [ending, instead, left] of this.endings) {
      if (word.endsWith(ending) && word.length - ending.length >= left) {
        word = word.slice(0, word.length - ending.length) + instead;
        break;
      }
    }
    if (word.length > 3 && word.at(-1) === word.at(-2) && !"aeiouls".includes(word.at(-1))) word = word.slice(0, -1);
    return word.length > 3 && word.endsWith("e") ? word.slice(0, -1) : word;
  }

  split(text) {
    const found = text.toLowerCase().match(/[a-z0-9_']+/g) || [];
    return found
      .flatMap((word) => [...new Set([word, ...word.split("_")])])
      .map((part) => part.replace(/^'+|'+$/g, ""))
      .filter((part) => part.length > 1 && !this.silent.has(part));
  }

  token(word) {
    const stem = this.stem(word);
    return this.same.get(stem) ?? stem;
  }

  meant(word, typing) {
    if (this.weights.has(this.token(word))) return this.token(word);
    const most = word.length < 4 ? 0 : word.length < 8 ? 1 : 2;
    let near = this.spelt.filter(([other]) => typing && word.length >= 3 && other.startsWith(word));
    const likely = (other) => other[0] === word[0] && Math.abs(other.length - word.length) <= most && apart(other, word) <= most;
    if (!near.length) near = this.spelt.filter(([other]) => likely(other));
    near.sort(([one, first], [other, second]) => this.counts.get(second) - this.counts.get(first) || (one < other ? -1 : 1));
    return near.length ? near[0][1] : null;
  }

  meanings(text) {
    const asked = [...new Set(this.split(text))];
    return asked.map((word) => this.meant(word, word === asked.at(-1)));
  }

  rank(text) {
    const meant = this.meanings(text);
    const wanted = new Set(meant.filter((token) => token !== null));
    const unknown = this.unknown();
    const need = this.weigh(wanted) + unknown * meant.filter((token) => token === null).length;
    const ranked = [];
    this.phrases.forEach((entry, number) => {
      const all = new Set(entry.flat());
      const has = this.weigh([...wanted].filter((token) => all.has(token)));
      if (!has) return;
      const best = Math.max(...entry.map((phrase) => this.near(wanted, phrase, need)));
      const cover = Math.floor((10000 * has) / need);
      ranked.push({ score: Math.floor((6 * cover) / 10) + Math.floor((4 * best) / 10), cover, has, number });
    });
    return ranked.sort((one, other) => other.score - one.score || one.number - other.number);
  }

  unknown() {
    return Math.max(0, ...this.weights.values()) / 2;
  }

  weigh(tokens) {
    let sum = 0;
    for (const token of tokens) sum += this.weights.get(token);
    return sum;
  }

  near(wanted, phrase, need) {
    const has = this.weigh(phrase.filter((token) => wanted.has(token)));
    return Math.floor((10000 * has) / Math.max(1, Math.floor(Math.sqrt(need * this.weigh(phrase)))));
  }
}

function apart(one, other) {
  const rows = [[...Array(other.length + 1).keys()]];
  for (let i = 1; i <= one.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const last = rows.at(-1);
      row.push(Math.min(last[j] + 1, row.at(-1) + 1, last[j - 1] + (one[i - 1] !== other[j - 1])));
      if (i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1]) {
        row[j] = Math.min(row[j], rows.at(-2)[j - 2] + 1);
      }
    }
    rows.push(row);
  }
  return rows.at(-1).at(-1);
}

class Finder {
  constructor(data) {
    this.table = data.table.map((entry) => ({ ...entry, patterns: entry.messages.map(([source, size]) => [new RegExp(source), size]) }));
    this.words = new Words(data.words);
    this.limits = data.limits;
  }

  find(text) {
    const reading = readError(text);
    const hits = this.matches(reading ?? { last: plain(text), inside: "", causes: [], further: [] });
    if (!reading) hits.push(...this.begun(plain(text)));
    if (!reading || !hits.length) hits.push(...this.likely(text, reading));
    return [...new Set(hits)].slice(0, this.limits.most).map((number) => this.table[number]);
  }

  begun(text) {
    if (text.length < this.limits.begun) return [];
    const edge = (letter) => /\w/.test(letter);
    const wanted = new RegExp(
      (edge(text[0]) ? "(?<![a-z0-9_])" : "") + text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") + (edge(text.at(-1)) ? "(?![a-z0-9_])" : ""),
    );
    const found = [];
    this.table.forEach((entry, number) => {
      const lengths = entry.said.filter((said) => wanted.test(said)).map((said) => said.length);
      if (lengths.length) found.push([Math.min(...lengths), number]);
    });
    return found.sort(([one, first], [other, second]) => one - other || first - second).map(([, number]) => number);
  }

  likely(text, reading) {
    const asked = reading ? reading.last.split(": ").slice(1).join(": ") : text;
    const ranked = this.words.rank(asked);
    const said = new Set(this.words.split(asked).map((word) => this.words.token(word)));
    if (said.size === 1 && ranked.length > this.limits.most) return [];
    if (reading && !this.words.subject.some((token) => said.has(token))) return [];
    const top = ranked.length ? ranked[0].score : 0;
    const meant = this.words.meanings(asked);
    const different = new Set(meant);
    const says = [...different].some((token) => token !== null && !this.words.vague.includes(token));
    if (!reading && ((different.size < 3 && different.has(null)) || !says) && top < this.limits.same) return [];
    let [enough, heavy] = reading ? [this.limits.ofAnError, this.limits.heavy] : [this.limits.enough, 0];
    if (!reading && meant.length >= this.limits.long) [enough, heavy] = [this.limits.ofALong, this.limits.heavy];
    return ranked
      .filter((hit) => hit.cover >= enough && hit.has >= heavy && hit.score * 10 >= top * 6)
      .map((hit) => hit.number);
  }

  matches(reading) {
    const inside = reading.inside ? [`in torch.${reading.inside}: ${reading.last}`] : [];
    const whole = reading.further.length ? [[reading.last, ...reading.further].join(" ")] : [];
    const texts = [[reading.last, ...inside], reading.causes, whole].map((lines) => lines.map(unwrapped));
    const found = [];
    this.table.forEach((entry, number) => {
      for (let place = 0; place < texts.length; place += 1) {
        const fits = entry.patterns.filter(([regex]) => texts[place].some((line) => regex.test(line))).map(([, size]) => size);
        if (fits.length) {
          found.push({ common: Number(entry.common), place, size: Math.max(...fits), number });
          break;
        }
      }
    });
    found.sort((one, other) => one.common - other.common || one.place - other.place || other.size - one.size || one.number - other.number);
    return found.map((hit) => hit.number);
  }
}
