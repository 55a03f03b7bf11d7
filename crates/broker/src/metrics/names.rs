//! The table of all metrics: name, kind, labels, Kafka's MBean, meaning. `docs/METRICS.md` is written from it.

use milena_metrics::{Kind, Metric};

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$labels:literal] $mbean:literal $help:literal;)*) => {
        $(pub(super) static $constant: Metric =
            Metric { name: $name, kind: Kind::$kind, labels: $labels, mbean: $mbean, help: $help };)*

        /// Every metric, in the order of a page.
        pub static METRICS: &[&Metric] = &[$(&$constant),*];
    };
}

metrics! {
    // The process.
    BUILD_INFO = Gauge "milena_build_info" ["version,kafka_version"]
        "" "Always 1; the labels say what runs, and which Apache Kafka it is compatible with.";
    PROCESS_CPU = Counter "process_cpu_seconds" [""]
        "" "Processor time of the process, user and system.";
    PROCESS_RESIDENT = Gauge "process_resident_memory_bytes" [""]
        "" "Resident memory of the process.";
    PROCESS_FILES = Gauge "process_open_fds" [""]
        "" "Open file descriptors.";
    BROKER_STATE = Gauge "kafka_server_kafkaserver_brokerstate" [""]
        "kafka.server:type=KafkaServer,name=BrokerState Value" "3 while the broker serves.";

    // Connections and memory.
    CONNECTIONS = Gauge "kafka_server_socket_server_metrics_connection_count" ["listener"]
        "kafka.server:type=socket-server-metrics,listener=*,networkProcessor=* connection-count" "Open connections.";
    MEMORY_AVAILABLE = Gauge "kafka_network_socketserver_memorypoolavailable" [""]
        "kafka.network:type=SocketServer,name=MemoryPoolAvailable Value"
        "Bytes left of the memory for requests and for answers that are not taken.";
    MEMORY_USED = Gauge "kafka_network_socketserver_memorypoolused" [""]
        "kafka.network:type=SocketServer,name=MemoryPoolUsed Value" "Bytes of that memory in use.";

    // The controller; on nodes that are one.
    ACTIVE_CONTROLLER = Gauge "kafka_controller_kafkacontroller_activecontrollercount" [""]
        "kafka.controller:type=KafkaController,name=ActiveControllerCount Value"
        "1 on the active controller, 0 on the others.";
    ACTIVE_BROKERS = Gauge "kafka_controller_kafkacontroller_activebrokercount" [""]
        "kafka.controller:type=KafkaController,name=ActiveBrokerCount Value" "Brokers that are not fenced.";
    FENCED_BROKERS = Gauge "kafka_controller_kafkacontroller_fencedbrokercount" [""]
        "kafka.controller:type=KafkaController,name=FencedBrokerCount Value"
        "Brokers that are registered and not heard of.";
    GLOBAL_TOPICS = Gauge "kafka_controller_kafkacontroller_globaltopiccount" [""]
        "kafka.controller:type=KafkaController,name=GlobalTopicCount Value" "Topics of the cluster.";
    GLOBAL_PARTITIONS = Gauge "kafka_controller_kafkacontroller_globalpartitioncount" [""]
        "kafka.controller:type=KafkaController,name=GlobalPartitionCount Value" "Partitions of the cluster.";
    OFFLINE_PARTITIONS = Gauge "kafka_controller_kafkacontroller_offlinepartitionscount" [""]
        "kafka.controller:type=KafkaController,name=OfflinePartitionsCount Value" "Partitions without a leader.";
    NOT_PREFERRED = Gauge "kafka_controller_kafkacontroller_preferredreplicaimbalancecount" [""]
        "kafka.controller:type=KafkaController,name=PreferredReplicaImbalanceCount Value"
        "Partitions whose leader is not their first replica.";
    METADATA_OFFSET = Gauge "kafka_controller_kafkacontroller_lastappliedrecordoffset" [""]
        "kafka.controller:type=KafkaController,name=LastAppliedRecordOffset Value"
        "The offset of the last record of the metadata log that is in the image.";

    // Partitions.
    LEADER_COUNT = Gauge "kafka_server_replicamanager_leadercount" [""]
        "kafka.server:type=ReplicaManager,name=LeaderCount Value" "Partitions that this broker leads.";
    PARTITION_COUNT = Gauge "kafka_server_replicamanager_partitioncount" [""]
        "kafka.server:type=ReplicaManager,name=PartitionCount Value" "Partitions with a replica on this broker.";
    OFFLINE_REPLICAS = Gauge "kafka_server_replicamanager_offlinereplicacount" [""]
        "kafka.server:type=ReplicaManager,name=OfflineReplicaCount Value"
        "Replicas of this broker that are offline, because their log directory failed or their log cannot be opened.";
    UNDER_REPLICATED = Gauge "kafka_server_replicamanager_underreplicatedpartitions" [""]
        "kafka.server:type=ReplicaManager,name=UnderReplicatedPartitions Value"
        "Partitions led here with fewer replicas in sync than they have.";
    UNDER_MIN_ISR = Gauge "kafka_server_replicamanager_underminisrpartitioncount" [""]
        "kafka.server:type=ReplicaManager,name=UnderMinIsrPartitionCount Value"
        "Partitions led here with fewer replicas in sync than min.insync.replicas.";
    AT_MIN_ISR = Gauge "kafka_server_replicamanager_atminisrpartitioncount" [""]
        "kafka.server:type=ReplicaManager,name=AtMinIsrPartitionCount Value"
        "Partitions led here with exactly min.insync.replicas replicas in sync.";
    PRODUCER_IDS = Gauge "kafka_server_replicamanager_produceridcount" [""]
        "kafka.server:type=ReplicaManager,name=ProducerIdCount Value"
        "Idempotent and transactional producers that logs here remember.";
    LOG_SIZE = Gauge "kafka_log_log_size" ["topic,partition"]
        "kafka.log:type=Log,name=Size,topic=*,partition=* Value" "Bytes of the log.";
    LOG_SEGMENTS = Gauge "kafka_log_log_numlogsegments" ["topic,partition"]
        "kafka.log:type=Log,name=NumLogSegments,topic=*,partition=* Value" "Segments of the log.";
    LOG_START = Gauge "kafka_log_log_logstartoffset" ["topic,partition"]
        "kafka.log:type=Log,name=LogStartOffset,topic=*,partition=* Value" "The first offset of the log.";
    LOG_END = Gauge "kafka_log_log_logendoffset" ["topic,partition"]
        "kafka.log:type=Log,name=LogEndOffset,topic=*,partition=* Value" "The offset after the last record of the log.";
    PARTITION_UNDER_REPLICATED = Gauge "kafka_cluster_partition_underreplicated" ["topic,partition"]
        "kafka.cluster:type=Partition,name=UnderReplicated,topic=*,partition=* Value"
        "1 where the partition is led here and has fewer replicas in sync than replicas.";
    PARTITION_ISR = Gauge "kafka_cluster_partition_insyncreplicascount" ["topic,partition"]
        "kafka.cluster:type=Partition,name=InSyncReplicasCount,topic=*,partition=* Value"
        "Replicas in sync of a partition led here, else 0.";
    LOG_DIR_OFFLINE = Gauge "kafka_log_logmanager_offlinelogdirectorycount" [""]
        "kafka.log:type=LogManager,name=OfflineLogDirectoryCount Value" "Log directories that failed.";
    ISR_SHRINKS = Counter "kafka_server_replicamanager_isrshrinks" [""]
        "kafka.server:type=ReplicaManager,name=IsrShrinksPerSec Count"
        "Times that a replica left the in-sync replicas of a partition led here because it lagged.";
    ISR_EXPANDS = Counter "kafka_server_replicamanager_isrexpands" [""]
        "kafka.server:type=ReplicaManager,name=IsrExpandsPerSec Count"
        "Times that a replica joined the in-sync replicas of a partition led here.";
    FAILED_ISR_UPDATES = Counter "kafka_server_replicamanager_failedisrupdates" [""]
        "kafka.server:type=ReplicaManager,name=FailedIsrUpdatesPerSec Count"
        "Changes of in-sync replicas that the controller refused.";

    // What goes through partitions.
    MESSAGES_IN = Counter "kafka_server_brokertopicmetrics_messagesin" ["topic"]
        "kafka.server:type=BrokerTopicMetrics,name=MessagesInPerSec,topic=* Count" "Records that were written.";
    BYTES_IN = Counter "kafka_server_brokertopicmetrics_bytesin" ["topic"]
        "kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec,topic=* Count" "Bytes of records that were written.";
    BYTES_OUT = Counter "kafka_server_brokertopicmetrics_bytesout" ["topic"]
        "kafka.server:type=BrokerTopicMetrics,name=BytesOutPerSec,topic=* Count" "Bytes of records that consumers got.";
    BYTES_REJECTED = Counter "kafka_server_brokertopicmetrics_bytesrejected" ["topic"]
        "kafka.server:type=BrokerTopicMetrics,name=BytesRejectedPerSec,topic=* Count" "Bytes of batches that were too large.";
    PRODUCE_REQUESTS = Counter "kafka_server_brokertopicmetrics_totalproducerequests" ["topic"]
        "kafka.server:type=BrokerTopicMetrics,name=TotalProduceRequestsPerSec,topic=* Count"
        "Partitions of produce requests.";
    FETCH_REQUESTS = Counter "kafka_server_brokertopicmetrics_totalfetchrequests" ["topic"]
        "kafka.server:type=BrokerTopicMetrics,name=TotalFetchRequestsPerSec,topic=* Count"
        "Partitions of fetch requests that were answered. Apache Kafka counts one that waited once more.";
    FAILED_PRODUCE_REQUESTS = Counter "kafka_server_brokertopicmetrics_failedproducerequests" ["topic"]
        "kafka.server:type=BrokerTopicMetrics,name=FailedProduceRequestsPerSec,topic=* Count"
        "Partitions of produce requests that failed, but for reasons that a producer must expect.";
    FAILED_FETCH_REQUESTS = Counter "kafka_server_brokertopicmetrics_failedfetchrequests" ["topic"]
        "kafka.server:type=BrokerTopicMetrics,name=FailedFetchRequestsPerSec,topic=* Count"
        "Partitions of fetch requests that failed, but for reasons that a consumer must expect.";
    REPLICATION_BYTES_IN = Counter "kafka_server_brokertopicmetrics_replicationbytesin" [""]
        "kafka.server:type=BrokerTopicMetrics,name=ReplicationBytesInPerSec Count"
        "Bytes of records copied from other brokers.";
    REPLICATION_BYTES_OUT = Counter "kafka_server_brokertopicmetrics_replicationbytesout" [""]
        "kafka.server:type=BrokerTopicMetrics,name=ReplicationBytesOutPerSec Count"
        "Bytes of records that other brokers copied.";

    // Requests.
    REQUESTS = Counter "kafka_network_requestmetrics_requests" ["request,version"]
        "kafka.network:type=RequestMetrics,name=RequestsPerSec,request=*,version=* Count"
        "Requests of clients and brokers, by key and version.";
    TOTAL_TIME = Histogram "kafka_network_requestmetrics_totaltimems" ["request"]
        "kafka.network:type=RequestMetrics,name=TotalTimeMs,request=*"
        "From when a request is worked on until its answer is ready to be sent.";
    LOCAL_TIME = Histogram "kafka_network_requestmetrics_localtimems" ["request"]
        "kafka.network:type=RequestMetrics,name=LocalTimeMs,request=*"
        "How long a request is worked on before it is answered or waits. Produce requests of one read are one.";
    REMOTE_TIME = Histogram "kafka_network_requestmetrics_remotetimems" ["request"]
        "kafka.network:type=RequestMetrics,name=RemoteTimeMs,request=*"
        "How long requests waited that could not be answered at once: for followers, records, a coordinator, the controller.";
    LOG_FLUSH = Histogram "kafka_log_logflushstats_logflushrateandtimems" [""]
        "kafka.log:type=LogFlushStats,name=LogFlushRateAndTimeMs" "How long syncs of logs took.";

    // Groups.
    GROUP_COUNT = Gauge "kafka_server_group_coordinator_metrics_group_count" ["protocol"]
        "kafka.server:type=group-coordinator-metrics,protocol=* group-count"
        "Groups whose coordinator is here, by protocol: classic or consumer.";
    CONSUMER_GROUP_COUNT = Gauge "kafka_server_group_coordinator_metrics_consumer_group_count" ["state"]
        "kafka.server:type=group-coordinator-metrics,state=* consumer-group-count"
        "Groups of the consumer protocol by state.";
    NUM_GROUPS = Gauge "kafka_coordinator_group_groupmetadatamanager_numgroups" [""]
        "kafka.coordinator.group:type=GroupMetadataManager,name=NumGroups Value" "Groups of the classic protocol.";
    NUM_GROUPS_PREPARING = Gauge "kafka_coordinator_group_groupmetadatamanager_numgroupspreparingrebalance" [""]
        "kafka.coordinator.group:type=GroupMetadataManager,name=NumGroupsPreparingRebalance Value"
        "Classic groups whose members are to join.";
    NUM_GROUPS_COMPLETING = Gauge "kafka_coordinator_group_groupmetadatamanager_numgroupscompletingrebalance" [""]
        "kafka.coordinator.group:type=GroupMetadataManager,name=NumGroupsCompletingRebalance Value"
        "Classic groups that wait for their leader's assignment.";
    NUM_GROUPS_STABLE = Gauge "kafka_coordinator_group_groupmetadatamanager_numgroupsstable" [""]
        "kafka.coordinator.group:type=GroupMetadataManager,name=NumGroupsStable Value" "Classic groups that are stable.";
    NUM_GROUPS_DEAD = Gauge "kafka_coordinator_group_groupmetadatamanager_numgroupsdead" [""]
        "kafka.coordinator.group:type=GroupMetadataManager,name=NumGroupsDead Value"
        "Always 0: a classic group that is gone is not there.";
    NUM_GROUPS_EMPTY = Gauge "kafka_coordinator_group_groupmetadatamanager_numgroupsempty" [""]
        "kafka.coordinator.group:type=GroupMetadataManager,name=NumGroupsEmpty Value" "Classic groups without members.";
    NUM_OFFSETS = Gauge "kafka_coordinator_group_groupmetadatamanager_numoffsets" [""]
        "kafka.coordinator.group:type=GroupMetadataManager,name=NumOffsets Value" "Committed offsets that are kept.";
    OFFSET_COMMITS = Count "kafka_server_group_coordinator_metrics_offset_commit_count" [""]
        "kafka.server:type=group-coordinator-metrics offset-commit-count"
        "Offsets committed, in transactions or not.";
    OFFSET_EXPIRATIONS = Count "kafka_server_group_coordinator_metrics_offset_expiration_count" [""]
        "kafka.server:type=group-coordinator-metrics offset-expiration-count" "Offsets that grew too old.";
    OFFSET_DELETIONS = Count "kafka_server_group_coordinator_metrics_offset_deletion_count" [""]
        "kafka.server:type=group-coordinator-metrics offset-deletion-count" "Offsets that OffsetDelete removed.";
    COMPLETED_REBALANCES = Count "kafka_server_group_coordinator_metrics_group_completed_rebalance_count" [""]
        "kafka.server:type=group-coordinator-metrics group-completed-rebalance-count"
        "Rebalances of classic groups that ended with an assignment.";
    CONSUMER_REBALANCES = Count "kafka_server_group_coordinator_metrics_consumer_group_rebalance_count" [""]
        "kafka.server:type=group-coordinator-metrics consumer-group-rebalance-count"
        "Rebalances of groups of the consumer protocol: new epochs that subscriptions or topics brought.";
    NUM_PARTITIONS = Gauge "kafka_server_group_coordinator_metrics_num_partitions" ["state"]
        "kafka.server:type=group-coordinator-metrics,state=* num-partitions"
        "Partitions of __consumer_offsets led here, by the state of their coordinator: loading, active or failed.";
    EVENT_QUEUE_SIZE = Gauge "kafka_server_group_coordinator_metrics_event_queue_size" [""]
        "kafka.server:type=group-coordinator-metrics event-queue-size" "What waits for a group coordinator.";
    LOAD_TIME_MAX = Gauge "kafka_server_group_coordinator_metrics_partition_load_time_max" [""]
        "kafka.server:type=group-coordinator-metrics partition-load-time-max"
        "Milliseconds that the longest load of a partition of __consumer_offsets took, since the start.";
    LOAD_TIME_AVG = Gauge "kafka_server_group_coordinator_metrics_partition_load_time_avg" [""]
        "kafka.server:type=group-coordinator-metrics partition-load-time-avg"
        "Milliseconds that loads of partitions of __consumer_offsets took on average, since the start.";
    EVENT_QUEUE_TIME = Histogram "kafka_server_group_coordinator_metrics_event_queue_time_ms" [""]
        "kafka.server:type=group-coordinator-metrics event-queue-time-ms-*"
        "How long events waited for their group coordinator.";
    EVENT_PROCESSING_TIME = Histogram "kafka_server_group_coordinator_metrics_event_processing_time_ms" [""]
        "kafka.server:type=group-coordinator-metrics event-processing-time-ms-*"
        "How long group coordinators worked on events.";
    EVENT_PURGATORY_TIME = Histogram "kafka_server_group_coordinator_metrics_event_purgatory_time_ms" [""]
        "kafka.server:type=group-coordinator-metrics event-purgatory-time-ms-*"
        "How long answers of group coordinators waited: for their records to be committed, or for other members.";
    BATCH_FLUSH_TIME = Histogram "kafka_server_group_coordinator_metrics_batch_flush_time_ms" [""]
        "kafka.server:type=group-coordinator-metrics batch-flush-time-ms-*"
        "How long group coordinators took to write a batch to their log.";
    BATCH_LINGER_TIME = Histogram "kafka_server_group_coordinator_metrics_batch_linger_time_ms" [""]
        "kafka.server:type=group-coordinator-metrics batch-linger-time-ms-*"
        "How long batches of group coordinators waited for more records.";
    GROUP_MEMBERS = Gauge "kafka_consumergroup_members" ["consumergroup"]
        "" "Members of a group whose coordinator is here.";
    GROUP_OFFSET = Gauge "kafka_consumergroup_current_offset" ["consumergroup,topic,partition"]
        "" "The committed offset of a group whose coordinator is here.";
    GROUP_LAG = Gauge "kafka_consumergroup_lag" ["consumergroup,topic,partition"]
        "" "Records between the committed offset and the high watermark, where coordinator and leader are both here.";
    DAMAGED_REPLICAS = Gauge "milena_damaged_replicas" [""]
        "" "Replicas of this broker whose logs are damaged and were not fetched anew yet.";
    DAMAGES_FOUND = Counter "milena_scrub_damages_found" [""]
        "" "Damaged places that the scrub found in closed segments.";
    SCRUBBED = Counter "milena_scrub_bytes" [""]
        "" "Bytes of closed segments that the scrub read.";
    SET_ASIDE = Counter "milena_logs_set_aside" [""]
        "" "Damaged logs that were set aside and fetched anew from the leader.";
    LEFT_OUT = Gauge "milena_metrics_left_out" [""]
        "" "Lines about single groups that are not on this page, because it would be too long.";
}
