#!/usr/bin/env python3
"""Cut published test vectors down to what adit's tests read.

    tests/vectors/trim.py UPSTREAM_DIR     (the folder layout of each set's SOURCE.txt: acvp/, wycheproof/, botan/, nss/)

Nothing is changed but by leaving out: parameter sets and curves adit does not have (ML-KEM-512, P-192 ...), inputs no
test reads (decapsulation keys that follow from the seed), prose. A value that is only compared is replaced by its
SHA-256 under the name `<field>_sha256`. One case per line, so that a difference is readable.
"""
import gzip, hashlib, json, os, re, sys

up, here = sys.argv[1], os.path.dirname(os.path.abspath(__file__))
sha = lambda h: hashlib.sha256(bytes.fromhex(h)).hexdigest()


def write(path, groups):
    os.makedirs(os.path.dirname(os.path.join(here, path)), exist_ok=True)
    with open(os.path.join(here, path), "w") as f:
        f.write("[\n")
        for i, (head, tests) in enumerate(groups):
            rows = ",\n".join(json.dumps(t, separators=(",", ":")) for t in tests)
            f.write(json.dumps(head)[:-1] + ("," if head else "") + '"tests":[\n' + rows + "\n]}" + (",\n" if i + 1 < len(groups) else "\n"))
        f.write("]\n")


def load(path):
    return json.load(open(os.path.join(up, path)))["testGroups"]


def pick(t, *fields):
    return {k: t[k] for k in fields if k in t}


def acvp():
    groups = []
    for g in load("acvp/key-gen.json"):
        if g["parameterSet"] != "ML-KEM-512":
            groups.append(({"set": g["parameterSet"]}, [dict(pick(t, "tcId", "d", "z"), ek_sha256=sha(t["ek"]))
                           for t in g["tests"]]))
    write("acvp/keygen.json", groups)
    enc, dec = [], []
    for g in load("acvp/encap-decap.json"):
        if g["parameterSet"] == "ML-KEM-512":
            continue
        if g["function"] == "encapsulation":
            enc.append(({"set": g["parameterSet"]}, [dict(pick(t, "tcId", "ek", "m", "k"), c_sha256=sha(t["c"]))
                        for t in g["tests"]]))
        else:
            dec.append(({"set": g["parameterSet"], "dk": g["dk"]}, [pick(t, "tcId", "c", "k", "reason")
                        for t in g["tests"]]))
    write("acvp/encaps.json", enc)
    write("acvp/decaps.json", dec)


def wycheproof():
    w = lambda n, groups: write("wycheproof/" + n + ".json", groups)
    w("aes_gcm", [({"iv_bits": g["ivSize"], "key_bits": g["keySize"]},
                   [pick(t, "tcId", "key", "iv", "aad", "msg", "ct", "tag", "result") for t in g["tests"]])
                  for g in load("wycheproof/aes_gcm_test.json") if g["ivSize"] == 96])
    # Only valid cases: adit does no PKCS #5 padding, which is what the invalid ones are about.
    w("aes_cbc", [({"key_bits": g["keySize"]}, [pick(t, "tcId", "key", "iv", "msg", "ct") for t in g["tests"]
                   if t["result"] == "valid"]) for g in load("wycheproof/aes_cbc_pkcs5_test.json")])
    for h in ("sha1", "sha256", "sha384", "sha512"):
        w("hmac_" + h, [({"key_bits": g["keySize"], "tag_bits": g["tagSize"]},
                         [pick(t, "tcId", "key", "msg", "tag", "result") for t in g["tests"]])
                        for g in load("wycheproof/hmac_%s_test.json" % h)])
    # The KE payload holds x|y of a named curve: keys in another form cannot be expressed in it.
    spki = "3076301006072a8648ce3d020106052b81040022036200" + "04"
    w("ecdh_secp384r1", [({}, [dict(tcId=t["tcId"], xy=t["public"][len(spki):], private=t["private"],
                                    shared=t["shared"], result=t["result"]) for t in g["tests"]
                               if t["public"].startswith(spki) and len(t["public"]) == len(spki) + 192])
                         for g in load("wycheproof/ecdh_secp384r1_test.json")])
    w("mlkem_768_encaps", [({}, [dict(pick(t, "tcId", "m", "ek", "K", "result"), **({"c_sha256": sha(t["c"])}
                                 if t["c"] else {})) for g in load("wycheproof/mlkem_768_encaps_test.json")
                                 for t in g["tests"]])])
    w("mlkem_768_keygen", [({}, [dict(pick(t, "tcId", "seed"), ek_sha256=sha(t["ek"]))
                                 for g in load("wycheproof/mlkem_768_keygen_seed_test.json") for t in g["tests"]])])
    w("mlkem_768_decaps_dk", [({}, [pick(t, "tcId", "dk", "c", "K", "result") for t in g["tests"]])
                              for g in load("wycheproof/mlkem_768_semi_expanded_decaps_test.json")])
    w("mlkem_768", [({}, [dict(pick(t, "tcId", "seed", "c", "K", "result"), **({"ek_sha256": sha(t["ek"])}
                          if "ek" in t else {})) for t in g["tests"]])
                    for g in load("wycheproof/mlkem_768_test.json")])


def botan():
    os.makedirs(os.path.join(here, "botan"), exist_ok=True)
    for name, keep in (("hmac.vec", r"HMAC\(SHA-(1|256|384|512)\)"), ("ecdh.vec", r"secp(256|384)r1")):
        text = open(os.path.join(up, "botan", name)).read()
        parts = re.split(r"^(?=\[)", text, flags=re.M)
        parts = [p for p in parts if re.match(r"\[%s\]" % keep, p)]
        open(os.path.join(here, "botan", name), "w").write("".join(parts))
    # The one case whose modulus is an IKE group (RFC 3526 2, 1536 bits).
    cases = re.split(r"\n\n+", open(os.path.join(up, "botan", "dh.vec")).read())
    number = lambda c, f: int(re.search(r"^%s = (\S+)" % f, c, re.M).group(1), 0)
    mine = [c for c in cases if re.search("^P = ", c, re.M) and number(c, "P").bit_length() == 1536]
    with open(os.path.join(here, "botan", "dh.vec"), "w") as f:
        f.write("[modp_1536]\n" + "".join("X = %x\nY = %0384x\nK = %s\n" % (number(c, "X"), number(c, "Y"),
                re.search(r"^K = (\S+)", c, re.M).group(1)) for c in mine))


def nss():
    os.makedirs(os.path.join(here, "nss"), exist_ok=True)
    data = open(os.path.join(up, "nss/ikev2.fax"), "rb").read().replace(b"\r\n", b"\n")
    with gzip.GzipFile(os.path.join(here, "nss/ikev2.fax.gz"), "wb", 9, mtime=0) as f:
        f.write(data)


acvp()
wycheproof()
botan()
nss()
