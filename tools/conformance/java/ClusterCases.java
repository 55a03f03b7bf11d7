import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.DescribeClusterOptions;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.FeatureUpdate.UpgradeType;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;

/** DescribeCluster, DescribeQuorum, features, UnregisterBroker, DescribeLogDirs. */
final class ClusterCases {
    static void add(Map<String, Case.Body> cases) {
        cases.put("cluster/describe", ClusterCases::describe);
        cases.put("cluster/features", ClusterCases::features);
        cases.put("cluster/update features", ClusterCases::updateFeatures);
        cases.put("cluster/unregister broker", ClusterCases::unregister);
        cases.put("cluster/quorum", ClusterCases::quorum);
        cases.put("cluster/log dirs", ClusterCases::logDirs);
    }

    private static void describe(Case c) throws Exception {
        var cluster = c.admin.describeCluster();
        c.line("cluster " + cluster.clusterId().get());
        c.line("controller " + cluster.controller().get());
        c.line("nodes " + cluster.nodes().get());
        c.line("operations " + cluster.authorizedOperations().get());
        var more = c.admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true).includeFencedBrokers(true));
        c.line("operations " + Case.sorted(more.authorizedOperations().get()));
        c.line("nodes " + more.nodes().get() + " fenced " + more.nodes().get().stream().map(n -> n.isFenced()).toList());
    }

    private static void features(Case c) throws Exception {
        var features = c.admin.describeFeatures().featureMetadata().get();
        c.line("finalized " + new TreeMap<>(features.finalizedFeatures()));
        c.line("supported " + new TreeMap<>(features.supportedFeatures()));
        c.line("epoch known " + features.finalizedFeaturesEpoch().isPresent());
    }

    private static void update(Case c, String what, String feature, short level, UpgradeType type, boolean validateOnly) {
        c.attempt(what, () -> c.admin.updateFeatures(
            Map.of(feature, new FeatureUpdate(level, type)), new UpdateFeaturesOptions().validateOnly(validateOnly)).all().get());
    }

    private static void updateFeatures(Case c) throws Exception {
        update(c, "unknown feature", "no.such.feature", (short) 1, UpgradeType.UPGRADE, false);
        update(c, "beyond", "metadata.version", (short) 99, UpgradeType.UPGRADE, false);
        update(c, "down as upgrade", "metadata.version", (short) 20, UpgradeType.UPGRADE, true);
        update(c, "unsafe below minimum", "metadata.version", (short) 1, UpgradeType.UNSAFE_DOWNGRADE, true);
        update(c, "same level", "metadata.version", c.admin.describeFeatures().featureMetadata().get()
            .finalizedFeatures().get("metadata.version").maxVersionLevel(), UpgradeType.UPGRADE, true);
        update(c, "group down", "group.version", (short) 0, UpgradeType.SAFE_DOWNGRADE, true);
        update(c, "kraft version", "kraft.version", (short) 9, UpgradeType.UPGRADE, true);
        update(c, "transactions down", "transaction.version", (short) 1, UpgradeType.SAFE_DOWNGRADE, true);
        update(c, "elr beyond", "eligible.leader.replicas.version", (short) 3, UpgradeType.UPGRADE, true);
    }

    private static void unregister(Case c) throws Exception {
        c.attempt("unregister 99", () -> c.admin.unregisterBroker(99).all().get());
        c.attempt("unregister -1", () -> c.admin.unregisterBroker(-1).all().get());
    }

    private static void quorum(Case c) throws Exception {
        var quorum = c.admin.describeMetadataQuorum().quorumInfo().get();
        c.line("leader " + quorum.leaderId() + " epoch positive " + (quorum.leaderEpoch() > 0) + " watermark positive " + (quorum.highWatermark() > 0));
        quorum.voters().forEach(v -> c.line("voter " + v.replicaId() + " end positive " + (v.logEndOffset() > 0)
            + " fetched " + v.lastFetchTimestamp().isPresent() + " caught up " + v.lastCaughtUpTimestamp().isPresent()
            + " directory " + !v.replicaDirectoryId().equals(org.apache.kafka.common.Uuid.ZERO_UUID)));
        c.line("observers " + quorum.observers().size());
        c.line("nodes " + new TreeMap<>(quorum.nodes()));
    }

    private static void logDirs(Case c) throws Exception {
        c.topic("dirs", 2);
        ProduceCases.fill(c, "dirs", 0, 10, "none");
        var dirs = c.admin.describeLogDirs(List.of(1)).allDescriptions().get().get(1);
        dirs.forEach((path, dir) -> {
            c.line(path + " error " + dir.error() + " total " + dir.totalBytes().isPresent() + " usable " + dir.usableBytes().isPresent());
            new TreeMap<>(Map.of("0", 0, "1", 1)).forEach((name, p) -> {
                var replica = dir.replicaInfos().get(new TopicPartition("dirs", p));
                c.line(" dirs-" + name + " " + replica);
            });
        });
        var replica = new TopicPartitionReplica("dirs", 0, 1);
        var absent = new TopicPartitionReplica("never-was", 0, 1);
        c.each("replica", c.admin.describeReplicaLogDirs(List.of(replica, absent)).values());
        c.attempt("broker 99", () -> {
            var options = new org.apache.kafka.clients.admin.DescribeLogDirsOptions();
            options.timeoutMs(1500);
            c.admin.describeLogDirs(List.of(99), options).allDescriptions().get();
            return "answered";
        });
    }
}
