/** A request that is being served: its handler, or the stream it answered. */
export class Exchange {
  /** Its place among the open ones; below zero once it has left. */
  place = -1;
  constructor(
    readonly request: Request,
    readonly info: Deno.ServeHandlerInfo,
    readonly since: number,
    /** Answers in place of the handler; gone once the handler has answered. */
    public answer?: (response: Response) => void,
  ) {}
}

export function isOpen({ place }: Exchange): boolean {
  return place >= 0;
}
