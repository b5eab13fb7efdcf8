# Makes or opens a JWE in JSON. The request is JSON on stdin, the answer JSON on stdout.
import json
import sys

ALG, ENC = "RSA-OAEP-256", "A256GCM"


def joserfc(request):
    from joserfc import jwe
    from joserfc.jwk import RSAKey

    # Each recipient can open only its own key, and documents may have more than 64 KiB.
    registry = jwe.JWERegistry(algorithms=[ALG, ENC], verify_all_recipients=False)
    registry.max_ciphertext_length = 1 << 27
    if request["do"] == "open":
        key = RSAKey.import_key(request["key"])
        return jwe.decrypt_json(json.loads(request["jwe"]), key, registry=registry).plaintext.decode()
    keys = [RSAKey.import_key(key) for key in request["keys"]]
    made = jwe.GeneralJSONEncryption({"enc": ENC, "cty": request["cty"]}, request["text"].encode())
    for key in keys:
        made.add_recipient({"alg": ALG}, key)
    return json.dumps(jwe.encrypt_json(made, None, registry=registry))


def jwcrypto(request):
    from jwcrypto import jwe, jwk

    if request["do"] == "open":
        opened = jwe.JWE(algs=[ALG, ENC])
        opened.deserialize(request["jwe"], jwk.JWK.from_pem(request["key"].encode()))
        return opened.payload.decode()
    protected = json.dumps({"enc": ENC})
    unprotected = json.dumps({"cty": request["cty"]})
    made = jwe.JWE(request["text"].encode(), protected, unprotected, aad=b"a note", algs=[ALG, ENC])
    for key in request["keys"]:
        made.add_recipient(jwk.JWK.from_pem(key.encode()), json.dumps({"alg": ALG}))
    return made.serialize()


request = json.load(sys.stdin)
try:
    answer = {"done": {"joserfc": joserfc, "jwcrypto": jwcrypto}[request["library"]](request)}
except Exception as error:
    if request["do"] == "seal":
        raise
    answer = {"error": type(error).__name__}
print(json.dumps(answer))
