// Drives a react-admin data provider through what a screen does, and prints what it saw as JSON.
import { fetchUtils } from 'ra-core';

export async function drive(makeProvider) {
    const { GATEWAY_URL: url, GATEWAY_TOKEN: token } = process.env;
    const client = (address, options = {}) =>
        fetchUtils.fetchJson(address, { ...options, user: { authenticated: true, token: `Bearer ${token}` } });
    const provider = makeProvider(`${url}/api/v1`, client);
    const page = (number, perPage) => ({ page: number, perPage });
    const byName = { field: 'companyName', order: 'ASC' };
    const names = ({ data }) => data.map(row => row.companyName);
    const failure = async call => {
        try {
            await call();
            return null;
        } catch (error) {
            return { status: error.status, message: error.message, errors: error.body?.errors };
        }
    };
    const list = (filter, sort = byName, pagination = page(1, 25)) =>
        provider.getList('customers', { filter, sort, pagination });

    const seen = {};
    const created = [];
    for (const [companyName, city, status] of [
        ['Alpha Works', 'Aarhus', 'active'],
        ['Beta Works', 'Bergen', 'lead'],
        ['Gamma Works', 'Aarhus', 'active'],
    ]) {
        const { data } = await provider.create('customers', { data: { companyName, city, status } });
        created.push(data);
    }
    const ids = created.map(row => row.id);
    seen.created = created.map(row => [row.companyName, row.version, row.tenantId]);

    const first = await list({ q: 'works' }, byName, page(1, 2));
    seen.firstPage = [names(first), first.total];
    const second = await list({ q: 'works' }, byName, page(2, 2));
    seen.secondPage = [names(second), second.total];
    const past = await list({ q: 'works' }, byName, page(9, 2));
    seen.pastTheEnd = [names(past), past.total];
    seen.descending = names(await list({ q: 'works' }, { field: 'companyName', order: 'DESC' }));
    seen.byField = names(await list({ q: 'works', city: 'Aarhus' }));
    seen.byTwoFields = names(await list({ q: 'works', city: 'Aarhus', status: 'lead' }));
    seen.byOperator = names(await list({ companyName_gte: 'B', companyName_lt: 'H', q: 'works' }));
    seen.notEqual = names(await list({ q: 'works', city_neq: 'Aarhus' }));
    seen.unknownField = await failure(() => list({ colour: 'red' }));

    seen.one = (await provider.getOne('customers', { id: ids[0] })).data.companyName;
    seen.missing = await failure(() => provider.getOne('customers', { id: '01900000-0000-7000-8000-00000000dead' }));
    seen.many = names(await provider.getMany('customers', { ids: [ids[2], '01900000-0000-7000-8000-00000000dead', ids[0]] }));

    const deal = { title: 'Works deal', amount: '100.50', currency: 'EUR', customerId: ids[0] };
    const stage = (await provider.create('stages', { data: { label: `Stage ${ids[0]}`, position: 1 } })).data;
    await provider.create('deals', { data: { ...deal, stageId: stage.id } });
    const reference = await provider.getManyReference('deals', {
        target: 'customerId', id: ids[0], filter: {}, sort: { field: 'title', order: 'ASC' }, pagination: page(1, 10),
    });
    seen.reference = [reference.data.map(row => [row.title, row.amount]), reference.total];

    const previousData = (await provider.getOne('customers', { id: ids[1] })).data;
    const updated = await provider.update('customers', {
        id: ids[1], data: { ...previousData, city: 'Bodø' }, previousData,
    });
    seen.updated = [updated.data.city, updated.data.companyName, updated.data.version];
    seen.updatedMany = (await provider.updateMany('customers', { ids: [ids[0], ids[2]], data: { industry: 'Tools' } })).data.length;
    seen.afterUpdateMany = names(await list({ industry: 'Tools', q: 'works' }));
    seen.fieldErrors = await failure(() =>
        provider.create('customers', { data: { companyName: '', email: 'nowhere', status: 'asleep' } }));
    seen.updateErrors = await failure(() =>
        provider.update('customers', { id: ids[1], data: { size: 'vast' }, previousData }));

    const deleted = await provider.delete('customers', { id: ids[1], previousData });
    seen.deleted = deleted.data.companyName;
    seen.afterDelete = names(await list({ q: 'works' }));
    seen.deletedMany = (await provider.deleteMany('customers', { ids: [ids[0], ids[2]] })).data.length;
    seen.afterDeleteMany = names(await list({ q: 'works' }));
    console.log(JSON.stringify(seen));
}
