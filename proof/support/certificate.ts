/**
 * Certificates for tests, made on the spot: none in the repository can run out,
 * no scanner stumbles over a key, and a machine needs no openssl. An X.509
 * certificate is a few nested lists in DER and a signature over them.
 */
import { Buffer } from "node:buffer";
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { scratchFolder } from "./server_process.ts";

export const DAY = 86_400_000;

export interface Certificate {
  cert: string;
  key: string;
}

/** A pair of PEM texts, signed by itself, for localhost. */
export function makeCertificate(
  { from = Date.now() - 7 * DAY, to = Date.now() + DAY } = {},
): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync("ec", {
    namedCurve: "P-256",
  });
  const name = sequence(der(0x31, sequence(oid.commonName, utf8("localhost"))));
  const serial = Buffer.from([1, ...randomBytes(8)]); // positive
  const tbs = sequence(
    der(0xa0, integer(Buffer.from([2]))), // version 3
    integer(serial),
    sequence(oid.ecdsaWithSha256),
    name,
    sequence(time(from), time(to)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(sequence(oid.subjectAltName, octets(altNames())))),
  );
  const signature = sign("sha256", tbs, privateKey);
  const certificate = sequence(
    tbs,
    sequence(oid.ecdsaWithSha256),
    der(0x03, Buffer.from([0]), signature),
  );
  return {
    cert: pem("CERTIFICATE", certificate),
    key: String(privateKey.export({ type: "pkcs8", format: "pem" })),
  };
}

/** The pair as files, in the words of the fixture's environment. */
export function certificateFiles({ cert, key }: Certificate) {
  const folder = fs.mkdtempSync(path.join(scratchFolder(), "certificate-"));
  const TLS_CERT = path.join(folder, "cert.pem");
  const TLS_KEY = path.join(folder, "key.pem");
  fs.writeFileSync(TLS_CERT, cert);
  fs.writeFileSync(TLS_KEY, key);
  return { TLS_CERT, TLS_KEY };
}

const oid = {
  commonName: der(0x06, Buffer.from("550403", "hex")),
  subjectAltName: der(0x06, Buffer.from("551d11", "hex")),
  ecdsaWithSha256: der(0x06, Buffer.from("2a8648ce3d040302", "hex")),
};

function altNames(): Buffer {
  const address = Buffer.from([127, 0, 0, 1]);
  return sequence(der(0x82, Buffer.from("localhost")), der(0x87, address));
}

/** Every element is its tag, its length and its content. */
function der(tag: number, ...content: Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  const { length } = body;
  const head = length < 128
    ? [tag, length]
    : length < 256
    ? [tag, 0x81, length]
    : [tag, 0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from(head), body]);
}

function sequence(...items: Uint8Array[]): Buffer {
  return der(0x30, ...items);
}

function integer(bytes: Uint8Array): Buffer {
  return der(0x02, bytes);
}

function octets(bytes: Uint8Array): Buffer {
  return der(0x04, bytes);
}

function utf8(text: string): Buffer {
  return der(0x0c, Buffer.from(text));
}

/** UTCTime: two digits of the year, good until 2049. */
function time(at: number): Buffer {
  const digits = new Date(at).toISOString().replace(/\D/g, "").slice(2, 14);
  return der(0x17, Buffer.from(`${digits}Z`));
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""]
    .join("\n");
}
