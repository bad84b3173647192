// The shapes of the REST API, as serde writes them in `dashboard/src/node.rs` and `protocol/src/`.

export type Role = 'controller' | 'dual' | 'worker';
export type Permission = 'none' | 'view' | 'control';
export type Program = 'xmrig' | 'tt-miner';
export type MinerState =
  | 'connecting' | 'failed' | 'mining' | 'no-pool' | 'paused' | 'starting' | 'stopped' | 'stopping' | 'warming';

export interface NodeInfo {
  id: string;
  name: string;
  role: Role;
  peer_id: string;
  public_key: string;
  fingerprint: string;
  created_at: number;
  version: string;
  serving: boolean;
  addresses: string[];
  peers: number;
  peers_online: number;
  pairing: string;
  pairing_code?: string;
  certificate?: string;
  data_dir: string;
  config_dir: string;
}

export interface PeerView {
  id: string;
  name: string;
  role: Role;
  peer_id: string;
  address: string | null;
  addresses: string[];
  permission: Permission;
  online: boolean;
  ping_ms: number | null;
  score: number;
  last_seen: number | null;
  paired_at: number;
  agent: string | null;
  problem: string | null;
}

export interface PendingView {
  id: string;
  name: string;
  role: Role;
  address: string;
  age_seconds: number;
  words: string;
}

/** A pairing request as the stream tells it. */
export interface Pending {
  id: string;
  name: string;
  role: Role;
  address: string;
  words: string;
  /** Unix seconds. */
  since: number;
}

export interface Activity {
  id: number;
  at: number;
  by: string;
  who: string | null;
  from: string | null;
  action: string;
  target: string | null;
  detail: string | null;
  result: string;
}

export type Scope = 'read' | 'control' | 'admin';

export interface Session {
  signed_in: boolean;
  password_set: boolean;
  scope?: Scope;
  by?: 'session' | 'token' | 'local';
  expires_at?: number | null;
  /** False when the page came over plain HTTP from another machine than this one. */
  secure?: boolean;
}

export interface Access {
  password_set: boolean;
  sessions: { id: string; created_at: number; last_used: number | null; expires_at: number | null; agent: string | null; current: boolean }[];
  tokens: Token[];
}

export interface Token { id: string; name: string; scope: Scope; created_at: number; last_used: number | null; token?: string }

export interface AddPeer {
  address: string;
  name?: string;
  code?: string;
  permission?: Permission;
}

export type Added =
  | { state: 'paired'; peer: PeerView }
  | { state: 'pending'; id: string; words: string };

export interface Pinged { id: string; name: string; round_trip_ms: number }

export interface DeviceStats {
  name: string | null;
  hashrate: number | null;
  temperature_celsius: number | null;
  fan_percent: number | null;
  power_watt: number | null;
}

export interface MinerStatus {
  name: string;
  program: Program;
  profile: string | null;
  state: MinerState;
  state_seconds: number;
  uptime_seconds: number;
  hashrate: number | null;
  hashrates: [number | null, number | null, number | null];
  shares: { accepted: number; rejected: number };
  algorithm: string | null;
  pool: string | null;
  version: string | null;
  devices: DeviceStats[];
  restarts: number;
  problem: string | null;
}

export interface RigStats {
  revision: number;
  name: string;
  version: string;
  host: {
    os: string; cpu: string; threads: number; load: number | null;
    memory_total: number; memory_available: number; uptime_seconds: number;
  };
  miners: MinerStatus[];
}

export interface RigView {
  peer: PeerView;
  stats: RigStats | null;
  hashrate: number | null;
  age_seconds: number | null;
  problem: string | null;
}

export interface MinerOutcome { rig: string; miners: MinerStatus[]; changed: boolean }
export interface DeployOutcome { rig: string; profile: string; changed: boolean }
export interface LogPage { miner: string; lines: { number: number; text: string }[]; newest: number; lost: number }

/** Numbers evenly spaced from `t0` on, `step` seconds apart; null where nothing is known. */
export interface History { t0: number; step: number; measures: string[]; series: HistorySeries[] }
export interface HistorySeries { id: string; v: (number | null)[] }

export interface PeerChange { name?: string; permission?: Permission }

export interface Pool { url: string; wallet?: string; password?: string; tls: boolean; fingerprint?: string }

export interface Profile {
  name: string;
  program: Program;
  algorithm?: string;
  coin?: string;
  pools: Pool[];
  wallet: string;
  password?: string;
  rig_name?: string;
  threads?: number;
  threads_hint?: number;
  huge_pages?: boolean;
  arguments?: string[];
}

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  hint: string;
  request_id: string;
  errors?: { pointer: string; detail: string }[];
}
