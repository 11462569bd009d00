import { ListenError, type Tls } from "./runtime.ts";

/**
 * The PEM texts, checked here: the runtimes themselves take an expired
 * certificate, or one that belongs to another key, and let every handshake fail.
 */
export async function readTls({ cert, key }: Tls): Promise<Tls> {
  const { X509Certificate, createPrivateKey } = await import("node:crypto");
  const problems: string[] = [];
  const part = async <T>(
    what: string,
    variable: string,
    value: string,
    parse: (pem: string) => T,
  ): Promise<{ pem: string; parsed?: T }> => {
    const inline = value.includes("-----BEGIN ");
    // What was meant to be a path may be a key that lacks its first line.
    const name = inline || variable === "TLS_KEY"
      ? `The ${what}`
      : `The ${what} ${value}`;
    let pem = value;
    try {
      if (!inline) pem = await readText(value);
    } catch (error) {
      problems.push(
        `${name} cannot be read: ${whyUnreadable(error)}; ` +
          `set ${variable} to a PEM file that this process may read.`,
      );
      return { pem };
    }
    try {
      return { pem, parsed: parse(pem) };
    } catch {
      problems.push(
        `${name} is not in PEM form; ` +
          `set ${variable} to a PEM file, or to the text of one.`,
      );
      return { pem };
    }
  };

  const certificate = await part(
    "certificate",
    "TLS_CERT",
    cert,
    (pem) => new X509Certificate(pem),
  );
  const privateKey = await part(
    "private key",
    "TLS_KEY",
    key,
    (pem) => createPrivateKey(pem),
  );
  const { parsed } = certificate;
  if (parsed) {
    const [from, to] = [parsed.validFrom, parsed.validTo];
    if (Date.parse(to) < Date.now()) {
      problems.push(`The certificate expired on ${to}; renew it.`);
    }
    if (Date.parse(from) > Date.now()) {
      problems.push(
        `The certificate is not valid before ${from}; ` +
          "wait for that, or set this machine's clock right.",
      );
    }
    if (privateKey.parsed && !parsed.checkPrivateKey(privateKey.parsed)) {
      problems.push(
        "The private key does not belong to the certificate; " +
          "TLS_CERT and TLS_KEY have to be a pair.",
      );
    }
  }
  if (problems.length > 0) {
    throw new ListenError("certificate", problems.join(" "));
  }
  return { cert: certificate.pem, key: privateKey.pem };
}

async function readText(path: string): Promise<string> {
  const { readFile } = await import("node:fs/promises");
  return await readFile(path, "utf8");
}

function whyUnreadable(error: unknown): string {
  const { code, name } = error as { code?: string; name?: string };
  if (name === "NotCapable") return "Deno has no --allow-read for it";
  if (code === "ENOENT") return "there is no such file";
  if (code === "EACCES" || code === "EPERM") {
    return "this process may not read it";
  }
  if (code === "EISDIR") return "it is a folder";
  return code ?? "it is no file";
}
