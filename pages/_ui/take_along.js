// Lists the figures that stand on the page and saves each as svg or png, as it is shown: zoom, theme and all.
const FIGURES = '[data-testid="stPlotlyChart"], [data-testid="stVegaLiteChart"]'
const SCALE = 3 // pixels of a png for each pixel on the screen
const MARGIN = 8 // around a figure, so that letters at its edge are whole
const SVG = "http://www.w3.org/2000/svg"

function layersOf(figure) {
  const layers = [...figure.querySelectorAll("svg.main-svg")] // Plotly draws several, one over the other
  return layers.length ? layers : [...figure.querySelectorAll("svg.marks")]
}

function titleOf(figure) {
  const named = figure.closest("[aria-label]") ?? figure.querySelector("[aria-label]")
  return named?.getAttribute("aria-label") ?? "Figure"
}

const family = names => names.split(",")[0].replace(/["']/g, "").trim()

function rulesOf(sheet) {
  try {
    return [...sheet.cssRules]
  } catch {
    return [] // of another origin, such as an extension's
  }
}

// The fonts of a figure as style rules that need no other file, so that its letters are as wide as on the page.
async function fontsOf(figure) {
  const used = new Set([...figure.querySelectorAll("svg text")].map(text => family(getComputedStyle(text).fontFamily)))
  const rules = [...document.styleSheets].flatMap(rulesOf).filter(rule =>
    rule instanceof CSSFontFaceRule && used.has(family(rule.style.fontFamily)) && rule.style.fontStyle !== "italic")
  const whole = rules.map(async rule => {
    const address = rule.style.src.match(/url\("?([^")]+)/)[1]
    const file = await fetch(new URL(address, rule.parentStyleSheet.href ?? document.baseURI))
    const bytes = Array.from(new Uint8Array(await file.arrayBuffer()), byte => String.fromCharCode(byte)).join("")
    const { fontFamily, fontWeight } = rule.style
    return `@font-face{font-family:${fontFamily};font-weight:${fontWeight};src:url(data:font/woff2;base64,${btoa(bytes)})}`
  })
  return (await Promise.all(whole)).join("")
}

async function drawn(figure) {
  const layers = layersOf(figure)
  const inner = layers[0].getBoundingClientRect()
  const [left, top] = [inner.left - MARGIN, inner.top - MARGIN]
  const [width, height] = [inner.width + 2 * MARGIN, inner.height + 2 * MARGIN]
  const whole = document.createElementNS(SVG, "svg")
  for (const [name, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) {
    whole.setAttribute(name, value)
  }
  const title = document.createElementNS(SVG, "title")
  title.textContent = titleOf(figure)
  const ground = document.createElementNS(SVG, "rect")
  ground.setAttribute("width", "100%")
  ground.setAttribute("height", "100%")
  ground.setAttribute("fill", getComputedStyle(document.querySelector('[data-testid="stApp"]')).backgroundColor)
  const style = document.createElementNS(SVG, "style")
  style.textContent = await fontsOf(figure)
  whole.append(title, style, ground)
  for (const layer of layers) {
    const place = layer.getBoundingClientRect()
    const copy = layer.cloneNode(true)
    copy.setAttribute("x", place.left - left)
    copy.setAttribute("y", place.top - top)
    copy.style.overflow = "visible"
    whole.append(copy)
  }
  // Clips that are named by the page's address would be lost in a file.
  const text = new XMLSerializer().serializeToString(whole).replace(/url\((&quot;|['"])?[^)#]*#/g, "url($1#")
  return { text, width, height }
}

function save(blob, name) {
  const link = document.createElement("a")
  link.href = URL.createObjectURL(blob)
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10000)
}

async function saveSvg(figure, name) {
  const { text } = await drawn(figure)
  save(new Blob([text], { type: "image/svg+xml" }), `${name}.svg`)
}

async function savePng(figure, name) {
  const { text, width, height } = await drawn(figure)
  const image = new Image()
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`
  await image.decode()
  const canvas = document.createElement("canvas")
  canvas.width = Math.round(SCALE * width)
  canvas.height = Math.round(SCALE * height)
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height)
  canvas.toBlob(blob => save(blob, `${name}.png`), "image/png")
}

export default function ({ data, parentElement }) {
  const list = parentElement.querySelector("ul")
  const shown = [...document.querySelectorAll(FIGURES)].filter(figure => layersOf(figure).length)
  const rows = shown.map((figure, place) => {
    const row = document.createElement("li")
    const title = document.createElement("span")
    title.textContent = titleOf(figure)
    const name = `${data.name}-${place + 1}`
    const buttons = [["svg", saveSvg], ["png", savePng]].map(([kind, saving]) => {
      const button = document.createElement("button")
      button.textContent = kind
      button.setAttribute("aria-label", `${titleOf(figure)} as ${kind}`)
      button.onclick = () => saving(figure, name)
      return button
    })
    row.append(title, ...buttons)
    return row
  })
  list.replaceChildren(...rows)
  parentElement.querySelector("p").hidden = rows.length > 0
}
