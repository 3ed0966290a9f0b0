"""What the lints read from the sources: the lists X(...), the fields of the configuration, the constants."""
import pathlib
import re


class Field:
    """One line of a CONFIG_*_FIELDS list; `fallback` is None, "(required)" or YAML text."""

    def __init__(self, path, line, args):
        self.where = f"{path}:{line}"
        self.name, self.type, least, most, fallback, status, _ = (a.strip() for a in args)
        self.least, self.most = least, most
        self.fallback = {"NULL": None, "CONFIG_REQUIRED": "(required)"}.get(fallback, fallback.strip('"'))
        self.later = status == "LATER"


def read(path):
    return path.read_text() if path.is_file() else ""


def arguments(text):
    """Split at the commas outside of quotes and brackets; strings that stand next to each other are one."""
    parts, depth, quoted, start = [], 0, False, 0
    for i, c in enumerate(text):
        if c == '"' and text[i - 1] != "\\":
            quoted = not quoted
        elif not quoted and c in "([":
            depth += 1
        elif not quoted and c in ")]":
            depth -= 1
        elif not quoted and c == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [re.sub(r'"\s*\\?\s*"', "", p) for p in [*parts, text[start:]]]


def entries(path, where, name):
    """(line, arguments) of each X(...) in `#define name(X) ...`."""
    text = read(path)
    found = re.search(rf"^#define {name}\(X\)((?:.*\\\n)*.*)", text, re.M)
    if not found:
        return
    body, offset = found.group(1), found.start(1)
    for x in re.finditer(r"\bX\(", body):
        depth, end, quoted = 1, x.end(), False
        while depth:
            if body[end] == '"' and body[end - 1] != "\\":
                quoted = not quoted
            elif not quoted:
                depth += {"(": 1, ")": -1}.get(body[end], 0)
            end += 1
        inner = re.sub(r"\\\n", "\n", body[x.end():end - 1])
        yield text.count("\n", 0, offset + x.start()) + 1, arguments(inner)


# Lists of include/adit/config.h -> the sections that stand in the reference page.
SECTIONS = {
    "TOP": "top level", "NODE": "node", "OUTER": "outer", "IKE": "ike", "IKE_PROPOSAL": "ike.proposal",
    "CHILD_PROPOSAL": "ike.child_proposal", "FLEET": "fleet", "ETCD": "fleet.etcd", "KEK": "fleet.kek",
    "MEMBER": "fleet.nodes", "CONTROL": "control", "METRICS": "metrics", "LOG": "log", "ACCOUNT": "accounts",
    "TUNNEL_BOTH": "tunnels", "TUNNEL_GRE": "tunnels", "TUNNEL_IPSEC": "tunnels", "TUNNEL_OUTER": "tunnels.outer",
    "TUNNEL_IKE": "tunnels.ike", "TUNNEL_ESP": "tunnels.esp",
    "HEALTH": "tunnels.health_check", "PSK": "tunnels.psk", "ROUTE": "routes",
}


def fields(root):
    """Section -> its fields."""
    where = "include/adit/config.h"
    table = {}
    for name, section in SECTIONS.items():
        for line, args in entries(root / where, where, f"CONFIG_{name}_FIELDS"):
            table.setdefault(section, []).append(Field(where, line, args))
    return table


def defines(root):
    """Name -> [(place, text)] of all object-like macros."""
    table = {}
    for path in sorted([*root.glob("src/*/*.[ch]"), *root.glob("include/adit/*.h")]):
        text = path.read_text()
        for found in re.finditer(r"^[ \t]*#[ \t]*define[ \t]+([A-Z]\w*)[ \t]+((?:.*\\\n)*.*)", text, re.M):
            body = re.sub(r"/\*.*?(\*/|$)", "", found.group(2).replace("\\\n", " ")).strip()
            number = text.count("\n", 0, found.start()) + 1
            table.setdefault(found.group(1), []).append((f"{path.relative_to(root)}:{number}", body))
    return table


def value(text, table, depth=0):
    """The number a macro's text stands for; None when it is no number."""
    text = re.sub(r"\bU?INT(?:8|16|32|64)_C\((\w+)\)", r"\1", text)
    text = re.sub(r"\((?:size_t|int|unsigned|uint\d+_t|uint64_t)\)", "", text)
    text = re.sub(r"\b(0x[0-9a-fA-F]+|\d+)[uUlL]*\b", r"\1", text)
    fixed = {"UINT32_MAX": 2**32 - 1, "UINT16_MAX": 2**16 - 1, "NS_PER_S": 10**9, "NS_PER_MS": 10**6}

    def name(found):
        word = found.group(0)
        if word in fixed:
            return str(fixed[word])
        if depth > 8 or len(table.get(word, [])) != 1:
            return "?"
        inner = value(table[word][0][1], table, depth + 1)
        return "?" if inner is None else str(inner)

    text = re.sub(r"\b[A-Za-z_]\w*\b(?<!0x)", lambda f: f.group(0) if f.group(0).startswith("0x") else name(f), text)
    if not re.fullmatch(r"[0-9a-fA-Fx\s()+*/<|-]+", text):
        return None
    try:
        return int(eval(text.replace("/", "//"), {"__builtins__": {}}))
    except (SyntaxError, ZeroDivisionError, TypeError):
        return None
