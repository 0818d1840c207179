//! Plain data of the field: nodes, pools, servers, observations, changes, typed ids. No I/O, no other layer.

pub mod change;
pub mod exit;
pub mod fleet_view;
pub mod ids;
pub mod info_lines;
pub mod load;
pub mod node_reading;
pub mod observation;
pub mod sanitize;
pub mod server_state;
pub mod vip;
pub mod vrrp;

pub use change::{AddServer, Change, CheckKind, MAX_WEIGHT, Start, Target, Weight};
pub use exit::Exit;
pub use fleet_view::{FleetView, Health, NodeMeta, NodeView, Problem, VrrpView};
pub use ids::{NodeName, PoolName, ServerName, ServerRef};
pub use info_lines::InfoLines;
pub use load::{LOAD_SECONDS, LoadLatency, LoadPicture, LoadSecond};
pub use node_reading::{AgentUse, CpuUse, DiskUse, ListeningSocket, MemoryUse, NetworkInterface, NodeReading, TcpStates};
pub use observation::{
    Certificate, Check, Drift, EngineEvent, EngineInfo, EngineKind, Fields, FrontendObs, Gauges, NodeObs, PoolObs, ServerObs,
    Session, SocketLevel, StickTable, StickTableEntry, Worker, saturate,
};
pub use sanitize::sanitize;
pub use server_state::{AdminState, ServerStatus, StatusWord};
pub use vip::{VipNode, VipView, fresh_vrrp};
pub use vrrp::{
    InterfaceAddress, ManagedRealServer, ManagedService, TrackFile, TrackFileStatus, Vip, VrrpAuth, VrrpConfigFile, VrrpCounters,
    VrrpDaemon, VrrpInstance, VrrpObs, VrrpState,
};
