import { ListenError, type Setting, type Tls } from "./runtime.ts";

/**
 * The PEM texts, checked here: the runtimes themselves take an expired
 * certificate, or one that belongs to another key, and let every handshake fail.
 */
export async function readTls({ cert, key }: Tls): Promise<Tls> {
  const { X509Certificate, createPrivateKey } = await import("node:crypto");
  const problems: string[] = [];
  const settings = new Set<Setting>();
  const complain = (setting: Setting, problem: string) => {
    settings.add(setting);
    problems.push(problem);
  };
  const part = async <T>(
    what: string,
    setting: Setting,
    value: string,
    parse: (pem: string) => T,
  ): Promise<{ pem: string; parsed?: T }> => {
    const inline = value.includes("-----BEGIN ");
    // What was meant to be a path may be a key that lacks its first line.
    const name = inline || setting === "tls.key"
      ? `The ${what}`
      : `The ${what} ${value}`;
    let pem = value;
    try {
      if (!inline) pem = await readText(value);
    } catch (error) {
      complain(
        setting,
        `${name} cannot be read: ${whyUnreadable(error)}; ` +
          "expected a PEM file that this process may read.",
      );
      return { pem };
    }
    try {
      return { pem, parsed: parse(pem) };
    } catch {
      complain(
        setting,
        `${name} is not in PEM form; expected a PEM file, or the text of one.`,
      );
      return { pem };
    }
  };

  const certificate = await part(
    "certificate",
    "tls.cert",
    cert,
    (pem) => new X509Certificate(pem),
  );
  const privateKey = await part(
    "private key",
    "tls.key",
    key,
    (pem) => createPrivateKey(pem),
  );
  const { parsed } = certificate;
  if (parsed) {
    const [from, to] = [parsed.validFrom, parsed.validTo];
    if (Date.parse(to) < Date.now()) {
      complain("tls.cert", `The certificate expired on ${to}; renew it.`);
    }
    if (Date.parse(from) > Date.now()) {
      complain(
        "tls.cert",
        `The certificate is not valid before ${from}; ` +
          "wait for that, or set this machine's clock right.",
      );
    }
    if (privateKey.parsed && !parsed.checkPrivateKey(privateKey.parsed)) {
      settings.add("tls.cert");
      complain(
        "tls.key",
        "The private key does not belong to the certificate; " +
          "the two have to be a pair.",
      );
    }
  }
  if (problems.length > 0) {
    throw new ListenError("certificate", problems.join(" "), [...settings]);
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
