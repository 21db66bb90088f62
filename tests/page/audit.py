"""What a screen reader, a keyboard, a phone or weak eyes would stumble over, asked of a page in the browser: our own
checks, and those of axe-core (Deque Systems, MPL 2.0) where npm can have it; it is never part of the tree.
"""

from typing import Any, Final

from tests.npm.packages import node_modules
from tests.page.browser import Tab

AXE: Final = "4.10.3"

FAULTS: Final = """[
  ...[...document.querySelectorAll('table:not(.chart table)')]
    .filter(t => !t.querySelector('th[scope=col]')).map(() => 'table'),
  ...[...document.querySelectorAll('[role=img], [role=region], section')]
    .filter(e => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby'))).map(e => e.className),
  ...[...document.querySelectorAll('[aria-labelledby]')]
    .filter(e => !document.getElementById(e.getAttribute('aria-labelledby'))).map(e => e.className),
  ...[...document.querySelectorAll('a')].filter(e => !e.textContent.trim()).map(() => 'link without words'),
  ...[...document.querySelectorAll('a[href^="#"]')]
    .filter(e => !document.getElementById(e.getAttribute('href').slice(1))).map(e => 'leads nowhere: ' + e.href),
  ...(['header', 'main', 'footer', 'h1', '[lang]'].filter(s => !document.querySelector(s))),
  ...(new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size
      === document.querySelectorAll('[id]').length ? [] : ['an id twice']),
  ...(document.documentElement.scrollWidth > document.documentElement.clientWidth ? ['wider than the screen'] : []),
  ...[...document.querySelectorAll('h1, h2, h3, h4')].map(e => Number(e.tagName[1]))
    .filter((level, i, all) => level > (i ? all[i - 1] : 0) + 1).map(level => 'a heading left out before h' + level),
]"""

CONTRAST: Final = """(() => {
  const parts = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const linear = (v) => v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const light = (c) => { const [r, g, b] = c.map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = parts(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
  const found = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getClientRects().length || e.closest('[aria-hidden=true]')) continue;
    const style = getComputedStyle(e);
    const ink = parts(e instanceof SVGElement ? style.fill : style.color).slice(0, 3);
    const [a, b] = [light(ink), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push(ratio.toFixed(2) + ': ' + e.textContent.trim().slice(0, 40));
  }
  return found;
})()"""
"""WCAG 2's contrast of words against what is behind them, 4.5 at least."""

REACHED: Final = """(() => {
  const reach = [...document.querySelectorAll('.scroll, .notes')];
  return reach.filter(e => e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0).map(e => e.className);
})()"""
"""What is wider than its place, and can't be moved by keyboard."""

_RUN_AXE: Final = """axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(
  v => `${v.impact} ${v.id}: ${v.help}; ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 120)).join(' | ')}`))"""


async def faults(tab: Tab) -> list[Any]:
    """Everything that is found by our own checks."""
    return [each for check in (FAULTS, CONTRAST, REACHED) for each in await tab.value(check)]


def axe() -> str:
    """The source of axe-core. Raises NotToBeHad."""
    return (node_modules(axe_core=AXE) / "axe-core" / "axe.min.js").read_text("utf-8")


async def axe_faults(tab: Tab, source: str) -> list[str]:
    """What axe-core finds. It is put in by the debugger, past the page's own policy."""
    await tab.do("Runtime.evaluate", expression=source)
    said = await tab.do("Runtime.evaluate", expression=_RUN_AXE, awaitPromise=True, returnByValue=True)
    assert "exceptionDetails" not in said, said
    found: list[str] = said["result"]["value"]
    return found
